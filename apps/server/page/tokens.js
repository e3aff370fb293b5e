// In: a text with its prompt, and the server's tokens of it. Out: the pieces to show. Pure.

// The prompts that a role stands for, as the server looks for them.
const kRoles = { query: ["query"], document: ["document", "passage", "corpus"] };

// The role that prompt `name` serves in a model with `prompts`; "" for none.
export const roleOf = (name, prompts) => Object.keys(kRoles).find(
  (role) => kRoles[role].find((candidate) => Object.hasOwn(prompts, candidate)) === name) ?? "";

// {kind, text, id?, ofPrompt?} in the text's order; kind: "token", "special", or "gap" for what is in
// no token. The server counts in characters (code points), and so does `promptLength`. A special
// token was added by the model and has no place in the text.
export const piecesOf = (whole, promptLength, tokens) => {
  const characters = Array.from(whole);
  const pieces = [];
  let at = 0;
  const take = (end) => {
    const text = characters.slice(at, end).join("");
    at = Math.max(at, end);
    return text;
  };
  const gap = (end) => {
    if (end > at) pieces.push({ kind: "gap", text: take(end) });
  };
  for (const { id, text, start, stop } of tokens) {
    if (start === null || stop === null) {
      pieces.push({ kind: "special", text, id });
      continue;
    }
    gap(start);
    // Several tokens may share a character: the first of them shows it, the others nothing.
    pieces.push({ kind: "token", text: take(stop), id, ofPrompt: stop <= promptLength });
  }
  gap(characters.length);
  return pieces;
};

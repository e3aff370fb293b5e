// In: paths and bodies. Out: the server's answers, or a Failure in words. Asks this server only.

export class Failure extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;  // 0: there was no reply
  }
}

// OpenAI's form of an error, TEI's, or none.
const wordsOf = (status, body) => {
  try {
    const { error } = JSON.parse(body);
    const words = typeof error === "string" ? error : error?.message;
    if (typeof words === "string" && words !== "") return words;
  } catch {
    // a proxy's page
  }
  return `the server answered ${status}`;
};

const failureOf = async (reply) => {
  let words = wordsOf(reply.status, await reply.text());
  const wait = reply.headers.get("retry-after");
  if (wait !== null && /^\d+$/.test(wait)) words += ` (try again in ${wait} s)`;
  return new Failure(words, reply.status);
};

// `keyOf` gives the key of this moment, or "". Paths are relative to the page.
export const makeApi = (keyOf) => {
  const ask = async (path, { body, signal } = {}) => {
    const headers = {};
    const key = keyOf();
    if (/[^\x21-\x7e]/.test(key)) throw new Failure("an API key has visible ASCII characters only");
    if (key !== "") headers.authorization = `Bearer ${key}`;
    if (body !== undefined) headers["content-type"] = "application/json";
    let reply;
    try {
      reply = await fetch(path, {
        method: body === undefined ? "GET" : "POST",
        headers,
        body: body === undefined ? undefined : JSON.stringify(body),
        cache: "no-store",
        signal,
      });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Failure("the server does not answer");
    }
    if (!reply.ok) throw await failureOf(reply);
    return reply;
  };
  return {
    json: async (path, options) => (await ask(path, options)).json(),
    text: async (path, options) => (await ask(path, options)).text(),
  };
};

// OpenAI's base64: little-endian floats.
export const floatsOf = (base64) => {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
};

// In: what the user types and presses; this server's answers. Out: the page, kept up to date.
import { Failure, floatsOf, makeApi } from "./api.js";
import { coordinateRows, drawSpark, heatTable, mapFigure, plural, tokensItem } from "./draw.js";
import { parseMetrics, summaryOf, withSample } from "./metrics.js";
import { piecesOf, roleOf } from "./tokens.js";
import { cosineMatrix, principalPoints } from "./vectors.js";

const kTextsMax = 64;          // a table of 64 x 64
const kPollMilliseconds = 2000;
const kPollTimeout = 10000;
const kWindowSeconds = 10;
const kSparkSamples = 60;

const at = (id) => document.getElementById(id);
const show = (id, text) => {
  // Only what changed, so that nothing is laid out or read out anew.
  if (at(id).textContent !== text) at(id).textContent = text;
};

const key = at("key");
key.value = "";  // some browsers fill fields in again
const api = makeApi(() => key.value.trim());

// --- The model, and what it offers

let info = null;

const promptNote = () => {
  const name = at("prompt").value || info?.default_prompt || "";
  const text = info?.prompts?.[name] ?? "";
  show("prompt-note", text === "" ? "puts nothing before a text" : `puts before a text: ${text}`);
  at("prompt-note").title = text;
};

const takeInfo = (given) => {
  const same = JSON.stringify(given) === JSON.stringify(info);
  info = given;
  if (same) return;
  show("model", given.model_id);
  document.title = `${given.model_id} \u2013 textvec`;
  show("live-provider", given.provider ?? "\u2013");
  show("live-runtime", [given.runtime, given.model_dtype].filter(Boolean).join(", "));
  const placed = (given.placement ?? []).map(({ provider, nodes }) =>
    `${plural(nodes, "node")} on ${provider.replace(/ExecutionProvider$/, "")}`);
  show("live-nodes", [given.path, ...placed].filter(Boolean).join(", "));
  const prompts = given.prompts ?? {};
  const chosen = at("prompt").value;
  const options = Object.keys(prompts).map((name) => {
    const role = roleOf(name, prompts);
    return new Option(role === "" || role === name ? name : `${name} (role ${role})`, name);
  });
  const standard = given.default_prompt ? `the model's default (${given.default_prompt})` : "none";
  at("prompt").replaceChildren(new Option(standard, ""), ...options);
  if (Object.hasOwn(prompts, chosen)) at("prompt").value = chosen;
  at("dimensions").max = given.dimension;
  at("dimensions").placeholder = given.dimension;
  show("dimensions-note", `1 to ${given.dimension}; empty: all`);
  promptNote();
};

// --- What goes on

let samples = [];
let spark = [];
let timer = null;
let polls = 0;  // so that an answer that comes after a pause is dropped

const number = (value, digits = 0) => value === null || value === undefined ? "\u2013"
  : value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
const milliseconds = (seconds) => seconds === null ? "\u2013"
  : number(1000 * seconds, seconds < 0.01 ? 1 : 0);

const showLive = () => {
  const live = summaryOf(samples);
  show("live-texts", number(live.texts, live.texts !== null && live.texts < 10 ? 1 : 0));
  show("live-tokens", number(live.tokens));
  show("live-p50", milliseconds(live.p50));
  show("live-p99", milliseconds(live.p99));
  show("live-queue", number(live.queue));
  show("live-requests", number(live.requests));
  show("live-connections", number(live.connections));
  spark = [...spark, live.texts].slice(-kSparkSamples);
  drawSpark(at("live-spark"), spark, kSparkSamples);
};

const forgetLive = () => {
  samples = [];
  for (const name of ["texts", "tokens", "p50", "p99", "queue", "requests", "connections"]) {
    show(`live-${name}`, "\u2013");
  }
};

const inWords = (failure) => failure.status === 401
  ? "This server asks for an API key: type it in the field at the top."
  : failure.message.replace(/^inputs?\[(\d+)\]/, (_, index) => `text ${Number(index) + 1}`)
    .replace(/^./, (letter) => letter.toUpperCase());

const pollOnce = async () => {
  const signal = AbortSignal.timeout(kPollTimeout);
  const [given, metrics] = await Promise.all([
    api.json("info", { signal }), api.text("metrics", { signal })]);
  return { given, sample: { seconds: performance.now() / 1000, values: parseMetrics(metrics) } };
};

const poll = async () => {
  const mine = ++polls;
  let again = true;
  try {
    const { given, sample } = await pollOnce();
    if (mine !== polls) return;
    takeInfo(given);
    samples = withSample(samples, sample, kWindowSeconds + 0.5);
    showLive();
    show("live-problem", "");
    key.removeAttribute("aria-invalid");
  } catch (error) {
    if (mine !== polls) return;
    forgetLive();
    const failure = error instanceof Failure ? error : new Failure("the server does not answer");
    show("live-problem", inWords(failure));
    again = failure.status !== 401;  // a wrong key does not become right
  }
  if (again) timer = setTimeout(poll, kPollMilliseconds);
};

const pause = () => {
  ++polls;
  clearTimeout(timer);
};
const resume = () => {
  pause();
  samples = [];
  spark = [...spark, null].slice(-kSparkSamples);
  if (!document.hidden) poll();
};
document.addEventListener("visibilitychange", () => {
  if (document.hidden) pause();
  else resume();
});
key.addEventListener("change", resume);

// --- Texts to vectors

let drawn = null;  // the texts and points of the map, for another width
let asking = null;

const drawMap = () => {
  if (drawn === null) return;
  at("map").replaceChildren(mapFigure(drawn.texts, drawn.map, Math.max(240, drawn.width)));
};
new ResizeObserver(([entry]) => {
  const width = Math.floor(entry.contentRect.width);
  if (drawn === null || width === drawn.width) return;
  drawn.width = width;
  drawMap();
}).observe(at("map"));

const showTokens = (texts, prompt, tokens, embeddings) => {
  const length = Array.from(prompt).length;
  at("tokens").replaceChildren(...texts.map((text, i) => tokensItem(
    i + 1, piecesOf(prompt + text, length, tokens[i]),
    embeddings[i].truncated ? info?.max_input_length ?? null : null)));
};

const showVectors = (texts, vectors) => {
  const { table, low } = heatTable(texts, cosineMatrix(vectors));
  at("heat").replaceChildren(table);
  show("scale-low", low.toFixed(2));
  show("scale-high", "1.00");
  const map = principalPoints(vectors);
  drawn = { texts, map, width: Math.floor(at("map").clientWidth) };
  drawMap();
  at("map-numbers").querySelector("tbody").replaceChildren(...coordinateRows(texts, map.points));
};

const kFields = { dimensions: "dimensions", prompt_name: "prompt", input: "texts", inputs: "texts" };

const showProblem = (failure) => {
  show("problem", inWords(failure));
  show("done", drawn === null ? "" : "What is below is of the request before.");
  const named = kFields[/^\w+/.exec(failure.message)?.[0]];
  const field = failure.status === 401 ? key : named === undefined ? null : at(named);
  field?.setAttribute("aria-invalid", "true");
  field?.focus();
};

const forgetProblem = () => {
  show("problem", "");
  show("done", "");
  for (const id of ["texts", "prompt", "dimensions", "key"]) at(id).removeAttribute("aria-invalid");
};

const asked = () => {
  const texts = at("texts").value.split(/\r?\n/).filter((line) => line.trim() !== "");
  if (texts.length > kTextsMax) {
    throw new Failure(`input: this page shows ${kTextsMax} texts at most, and not ${texts.length}`);
  }
  const dimensions = at("dimensions");
  if (dimensions.validity.badInput) throw new Failure("dimensions takes a whole number");
  const name = at("prompt").value;
  return {
    texts,
    prompt: info?.prompts?.[name || (info.default_prompt ?? "")] ?? "",
    options: {
      ...(name !== "" && { prompt_name: name }),
      ...(dimensions.value !== "" && { dimensions: Number(dimensions.value) }),
    },
  };
};

const embed = async () => {
  asking?.abort();
  const mine = asking = new AbortController();
  const { signal } = mine;
  forgetProblem();
  try {
    const { texts, prompt, options } = asked();
    const began = performance.now();
    const [{ data, usage }, tokens] = await Promise.all([
      api.json("v1/embeddings",
        { body: { input: texts, encoding_format: "base64", ...options }, signal }),
      api.json("tokenize", { body: {
        inputs: texts, ...(options.prompt_name && { prompt_name: options.prompt_name }) }, signal }),
    ]);
    const time = performance.now() - began;
    const vectors = data.map(({ embedding }) => floatsOf(embedding));
    showTokens(texts, prompt, tokens, data);
    showVectors(texts, vectors);
    show("done", `${plural(texts.length, "text")}, ${plural(usage.total_tokens, "token")}, ` +
      `${plural(vectors[0].length, "dimension")}, ${number(time)} ms there and back.`);
  } catch (error) {
    if (asking === mine && error.name !== "AbortError") {
      mine.abort();  // the other of the two
      showProblem(error instanceof Failure ? error : new Failure(String(error.message)));
    }
  }
};

at("form").addEventListener("submit", (event) => {
  event.preventDefault();
  embed();
});
at("texts").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    embed();
  }
});
at("prompt").addEventListener("change", promptNote);

resume();

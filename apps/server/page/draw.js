// In: numbers and texts. Out: elements of the page. Texts of users go in as text, never as HTML.

const kSvg = "http://www.w3.org/2000/svg";

const element = (name, properties = {}, ...children) => {
  const made = document.createElement(name);
  Object.assign(made, properties);
  made.append(...children);
  return made;
};

const svg = (name, attributes = {}, ...children) => {
  const made = document.createElementNS(kSvg, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
};

export const shortened = (text, length) => {
  const characters = Array.from(text);
  return characters.length <= length ? text
    : `${characters.slice(0, length - 1).join("").trimEnd()}\u2026`;
};

export const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

// `kept`: how many of the tokens the vector is of, where the text was cut off; else null.
export const tokensItem = (number, pieces, kept) => {
  const line = element("p", { className: "pieces" });
  const list = element("ol", { className: "ids" });
  let count = 0;
  for (const { kind, text, id, ofPrompt } of pieces) {
    if (kind === "gap") {
      line.append(text);
      continue;
    }
    const classes = ["token", kind === "special" ? "special" : `hue${count % 4}`];
    if (ofPrompt) classes.push("of-prompt");
    const shown = text === "" ? "\u00b7" : text;
    line.append(element("span", { className: classes.join(" "), title: `token ${id}` }, shown));
    const note = text === "" ? "the rest of a character" : text;
    list.append(element("li", {}, element("code", {}, note), ` ${id}`));
    ++count;
  }
  const cut = kept === null ? "" : `, cut off: the vector is of ${kept}`;
  const details = element("details", {},
    element("summary", {}, `${plural(count, "token")}${cut}`,
      element("span", { className: "hidden" }, ` of text ${number}`)), list);
  return element("li", {}, element("span", { className: "number" }, String(number)),
    element("div", {}, line, details));
};

const fixed = (value, digits) => {
  const text = value.toFixed(digits);
  return Number(text) === 0 ? (0).toFixed(digits) : text;  // no -0.00
};

export const heatTable = (texts, matrix) => {
  const low = Math.min(...matrix.flat());
  const shareOf = (value) => low < 1 - 1e-6 ? Math.min(1, Math.max(0, (value - low) / (1 - low))) : 1;
  const numbers = texts.map((_, i) => element("th", { scope: "col" }, String(i + 1)));
  const head = element("tr", {}, element("th", { scope: "col" }, "text"), ...numbers);
  const rows = matrix.map((row, i) => {
    const name = element("th", { scope: "row", title: texts[i] },
      element("span", { className: "number" }, String(i + 1)), ` ${shortened(texts[i], 24)}`);
    const cells = row.map((value) => {
      const cell = element("td", {},
        element("data", { value: value.toFixed(6) }, fixed(value, 2)));
      cell.style.setProperty("--share", shareOf(value).toFixed(3));
      return cell;
    });
    return element("tr", {}, name, ...cells);
  });
  const table = element("table", { className: "heat" },
    element("caption", { className: "hidden" }, "Cosine of each text with each"),
    element("thead", {}, head), element("tbody", {}, ...rows));
  return { table, low };
};

const overlap = (a, b) => a.x < b.x + b.width && b.x < a.x + a.width &&
  a.y < b.y + b.height && b.y < a.y + a.height;

// Where labels go that hide no point and no other label: {x, y, width, height, text, anchor} a point;
// widths are estimates, so a label is anchored at the side of its point. One that finds no room is
// cut to its number, and then stands where it may.
export const placeLabels = (points, labels, width, height, charWidth = 7.2, lineHeight = 16) => {
  const gap = 7;
  const dots = points.map(([x, y]) => ({ x: x - 5, y: y - 5, width: 10, height: 10 }));
  const placed = [];
  const boxesOf = ([x, y], text) => {
    const length = Array.from(text).length * charWidth;
    const box = (left, top, anchor) =>
      ({ x: left, y: top, width: length, height: lineHeight, text, anchor });
    return [
      box(x + gap, y - lineHeight / 2, "start"),
      box(x - gap - length, y - lineHeight / 2, "end"),
      box(x - length / 2, y - gap - lineHeight, "middle"),
      box(x - length / 2, y + gap, "middle"),
      box(x + gap, y + 2, "start"),
      box(x + gap, y - 2 - lineHeight, "start"),
    ];
  };
  const isFree = (box) => box.x >= 0 && box.y >= 0 && box.x + box.width <= width &&
    box.y + box.height <= height && ![...dots, ...placed].some((other) => overlap(box, other));
  points.forEach((point, i) => {
    const number = String(i + 1);
    const wanted = [...boxesOf(point, labels[i]), ...boxesOf(point, number)];
    placed.push(wanted.find(isFree) ?? boxesOf(point, number)[0]);
  });
  return placed;
};

const percent = (share) => `${(100 * share).toFixed(0)} %`;

export const mapFigure = (texts, { points, explained }, width) => {
  const height = Math.max(260, Math.min(420, Math.round(width * 0.72)));
  const margin = { left: 26, right: 14, top: 14, bottom: 28 };
  const inner = [width - margin.left - margin.right - 24, height - margin.top - margin.bottom - 24];
  const ranges = [0, 1].map((axis) => {
    const values = points.map((point) => point[axis]);
    return [Math.min(...values), Math.max(...values)];
  });
  // One scale for both axes, or distances would mislead.
  const scale = Math.min(...ranges.map(([low, high], axis) => high > low
    ? inner[axis] / (high - low) : Infinity));
  const middle = ranges.map(([low, high]) => (low + high) / 2);
  const factor = Number.isFinite(scale) ? scale : 1;
  const centre = [margin.left + (width - margin.left - margin.right) / 2,
                  margin.top + (height - margin.top - margin.bottom) / 2];
  const places = points.map((point) => [centre[0] + (point[0] - middle[0]) * factor,
                                        centre[1] - (point[1] - middle[1]) * factor]);
  const labels = texts.map((text, i) => `${i + 1} ${shortened(text, width < 480 ? 14 : 22)}`);
  const boxes = placeLabels(places, labels, width, height - margin.bottom);
  const words = `${plural(texts.length, "text")}; the first direction has ` +
    `${percent(explained[0])} of the variance, the second ${percent(explained[1])}`;
  const axis = height - margin.bottom + 2;
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img",
                               "aria-label": `Map of ${words}` },
    svg("path", { class: "axes", d: `M${margin.left} ${margin.top}V${axis}H${width - margin.right}` }),
    svg("text", { class: "axis", x: width - margin.right, y: height - 8, "text-anchor": "end" },
      `1st: ${percent(explained[0])} of the variance`),
    svg("text", { class: "axis", "text-anchor": "end",
                  transform: `translate(16 ${margin.top}) rotate(-90)` },
      `2nd: ${percent(explained[1])} of the variance`));
  places.forEach(([x, y], i) => {
    drawing.append(svg("circle", { class: "point", cx: x.toFixed(1), cy: y.toFixed(1), r: 4.5 },
      svg("title", {}, texts[i])));
  });
  const shares = { start: 0, middle: 0.5, end: 1 };
  for (const { x, y, width: length, height: line, text, anchor } of boxes) {
    drawing.append(svg("text", { class: "label", "text-anchor": anchor,
                                 x: (x + shares[anchor] * length).toFixed(1),
                                 y: (y + line * 0.76).toFixed(1) }, text));
  }
  return drawing;
};

export const coordinateRows = (texts, points) => points.map((point, i) => element("tr", {},
  element("th", { scope: "row" }, `${i + 1} ${shortened(texts[i], 24)}`),
  ...point.map((value) => element("td", {}, fixed(value, 3)))));

// A line of the last values; what is null is a gap.
export const drawSpark = (target, values, room) => {
  const [width, height] = [120, 24];
  const top = Math.max(1, ...values.map((value) => value ?? 0));
  let path = "";
  let pen = "M";
  values.forEach((value, i) => {
    if (value === null) {
      pen = "M";
      return;
    }
    const x = width * (room - values.length + i) / (room - 1);
    path += `${pen}${x.toFixed(1)} ${(height - 2 - (height - 4) * value / top).toFixed(1)}`;
    pen = "L";
  });
  target.setAttribute("viewBox", `0 0 ${width} ${height}`);
  target.setAttribute("preserveAspectRatio", "none");
  target.replaceChildren(svg("path", { d: path === "" ? "M0 0" : path }));
};

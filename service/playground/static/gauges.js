// Numbers as pictures: a dial for a probability, bars for shares, a mark on a scale; each with the number in words.

import { bounded, h } from "./dom.js";

/** Make an element of SVG. */
export function svg(tag, given, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(given)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** A share in percent, with a digit more where a whole percent would read as never or always. */
export function share(value) {
  const percents = value * 100;
  if (percents < 0.05) return "< 0.1%";
  if (percents > 99.95) return "> 99.9%";
  return `${percents < 10 || percents > 90 ? percents.toFixed(1) : Math.round(percents)}%`;
}

/** A number of any size in a few characters. */
export const short = (value) => String(Number(value.toPrecision(3))).replace("-", "−");

/** A mean with its deviation, both to the digit that the deviation makes sense of. */
export function rounded(mean, deviation) {
  const digits = deviation > 0 ? Math.min(8, Math.max(deviation < 10 ? 2 : 0, 1 - Math.floor(Math.log10(deviation)))) : 2;
  const written = mean.toFixed(digits);
  return `${Number(written) === 0 ? written.replace("-", "") : written.replace("-", "−")} ± ${deviation.toFixed(digits)}`;
}

const VERDICTS = [
  [0.1, "taken for generated"],
  [0.4, "rather generated"],
  [0.6, "undecided"],
  [0.9, "rather real"],
  [Infinity, "taken for real"],
];

/** What a probability of being real says, in two or three words. */
export const verdict = (probability) => VERDICTS.find(([below]) => probability < below)[1];

const ARC = "M 16 96 A 84 84 0 0 1 184 96";

/** A dial for P(real): {element, show(probability or null)}. */
export function dial() {
  const filled = svg("path", { d: ARC, class: "dial-filled", pathLength: 100, "stroke-dasharray": "0 200" });
  const middle = svg("line", { x1: 100, y1: 4, x2: 100, y2: 20, class: "dial-middle" });
  const picture = svg("svg", { viewBox: "0 0 200 104", "aria-hidden": "true" }, svg("path", { d: ARC, class: "dial-track" }), filled, middle);
  const number = h("strong", { class: "dial-number" });
  const words = h("span", { class: "dial-words" });
  const element = h(
    "div",
    { class: "dial", role: "meter", "aria-label": "Probability of being real", "aria-valuemin": 0, "aria-valuemax": 100 },
    picture,
    h("div", { class: "dial-text" }, number, words),
    h("div", { class: "dial-ends", "aria-hidden": "true" }, h("span", {}, "generated"), h("span", {}, "real")),
  );
  return {
    element,
    show(probability) {
      const known = probability !== null;
      filled.setAttribute("stroke-dasharray", `${known ? probability * 100 : 0} 200`);
      number.textContent = known ? share(probability) : "–";
      words.textContent = known ? verdict(probability) : "no score yet";
      element.setAttribute("aria-valuenow", known ? (probability * 100).toFixed(1) : 0);
      element.setAttribute("aria-valuetext", known ? `${share(probability)}, ${verdict(probability)}` : "no score yet");
    },
  };
}

/** A row with a name, a bar as long as a share, and the share in words. */
export function bar(name, value, { words = share(value), strong = false } = {}) {
  return h(
    "li",
    { class: strong ? "reading strong" : "reading" },
    h("span", { class: "reading-name" }, name),
    h("span", { class: "reading-track", "aria-hidden": "true" }, h("span", { class: "reading-fill", vars: { share: bounded(value, 0, 1) } })),
    h("span", { class: "reading-words" }, words),
  );
}

/** A row with a name, a mark on a scale from low to high, and the number. */
export function mark(name, value, low, high) {
  return h(
    "li",
    { class: "reading" },
    h("span", { class: "reading-name" }, name),
    h("span", { class: "reading-track scale", "aria-hidden": "true" }, h("span", { class: "reading-mark", vars: { share: bounded((value - low) / (high - low), 0, 1) } })),
    h("span", { class: "reading-words" }, short(value)),
  );
}

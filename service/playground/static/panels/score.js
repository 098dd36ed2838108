// Score: what discriminator and encoder say of a drawing, a picture or a sample, while it changes.

import { newSeed } from "../controls.js";
import { ICONS, h, icon } from "../dom.js";
import { bar, dial, mark, share, short, svg, verdict } from "../gauges.js";
import { nameOf, thumbnail } from "../kept.js";
import { newest } from "../newest.js";
import { NPY, asNpy, writeNpy } from "../npy.js";
import { wanted } from "../packages.js";
import { createPaper } from "../paper.js";
import { readPicture, takeFiles } from "../pictures.js";
import { addressOf } from "../snippets.js";
import { NO_OPTIONS, writeKept } from "../state.js";

export const id = "score";
export const title = "Score";
export const uses = ["label", "condition"];
export const suits = (pkg) => pkg.kind === "image" && (pkg.judges !== null || pkg.encodes.length > 0);

const PAUSE_MS = 120; // between two requests
const SPOKEN_AFTER_MS = 1_200; // without a change
const MOST_PIXELS = 2 ** 22; // a sheet of more is slow to draw on, and larger than a body that the service takes
const GROUND_SAMPLES = 8; // whose margins say what the ground of this package's images is
const MOST_BARS = 10;
const TRACE = 80; // scores

export function mount(container, context) {
  const { pkg } = context;
  if (pkg.sample.width * pkg.sample.height > MOST_PIXELS) {
    container.append(h("div", { class: "empty" }, h("p", {}, `Images of ${pkg.sample.width} × ${pkg.sample.height} pixels are too large to draw on here; POST /score takes them.`)));
    return () => container.replaceChildren();
  }
  return mountSheet(container, context);
}

function mountSheet(container, context) {
  const { api, pkg, options, kept, status, signal } = context;
  const { width, height, channels } = pkg.sample;
  let source = null; // {picture, words} that fills the sheet, while one can still choose how
  let whole = true;
  let spoken = 0;
  let hasFailed = false; // the last score; what else the note says of a picture stays
  let isMounted = true;

  const sheet = createPaper(pkg.sample, () => refresh(), status.say);
  const results = showResults(pkg);
  const ask = newest(score, PAUSE_MS);
  const note = h("p", { class: "hint note", role: "status" });

  /** The class that samples are told, or null for "not told"; a package that needs one gets the first. */
  const labelFor = (graph) => (graph?.takes.includes("label") ? (options.get().label ?? (graph === pkg.judges && pkg.scoresAny ? null : 0)) : null);

  function address(path, graph, label = labelFor(graph)) {
    const said = new URLSearchParams({ model: pkg.name, version: pkg.version });
    if (label !== null) said.set("label", label);
    if (graph.takes.includes("condition")) said.set("condition", options.get().condition ?? 0);
    return `${path}?${said}`;
  }

  function refresh() {
    clearTimeout(spoken);
    results.wait(!sheet.blank);
    if (sheet.blank) results.clear();
    else ask();
  }

  async function score() {
    if (!isMounted || sheet.blank) return;
    const sent = new Map(); // path → revision of the sheet that was sent last, perhaps after a pause
    const post = (path, graph, label) => {
      const body = () => {
        sent.set(path, sheet.revision);
        return writeNpy(sheet.pixels(), [1, height, width, channels]);
      };
      return api.post(address(path, graph, label), { body, type: NPY, signal });
    };
    try {
      const judged = pkg.judges ? (await post("score", pkg.judges)).scores[0] : null;
      const label = pkg.labels ? (options.get().label ?? judged?.label ?? 0) : null;
      const [encoded, again] = await Promise.all([
        pkg.encodes.includes("code") && post("encode", pkg.encoder),
        reconstructs(pkg) && post("reconstruct", { takes: pkg.condition ? ["condition"] : [] }, label),
      ]);
      if (sheet.blank) return;
      results.show({
        score: judged,
        told: labelFor(pkg.judges),
        codes: encoded ? encoded.encodings[0].codes : null,
        again: again ? { ...again.reconstructions[0], label } : null,
      });
      if (hasFailed) tell("");
      hasFailed = false;
      clearTimeout(spoken);
      spoken = setTimeout(() => status.say(results.words()), SPOKEN_AFTER_MS);
    } catch (error) {
      if (signal.aborted) return;
      tell(error.message);
      hasFailed = true;
    } finally {
      const isNewest = [...sent.values()].every((revision) => revision === sheet.revision);
      results.wait(!isNewest && !sheet.blank);
      if (!isNewest) ask();
    }
  }

  const tell = (words) => (note.textContent = words);

  async function take(file) {
    try {
      const picture = await readPicture(file);
      if (!isMounted) return;
      const first = file.type === "image/gif" ? "the first picture of " : "";
      source = { picture, words: `${first}${file.name || "the picture"}, ${picture.naturalWidth} × ${picture.naturalHeight}` };
      await placeSource();
    } catch (error) {
      tell(error.message);
      status.say(error.message);
    }
  }

  async function placeSource() {
    await sheet.place(source.picture, whole);
    status.say(`The sheet shows ${source.words}.`);
    showSource();
  }

  async function takeSample(sample) {
    try {
      const file = await api.get(addressOf(api, pkg, sample), { accept: "image/png", signal, read: (response) => response.blob() });
      const picture = await createImageBitmap(file);
      source = null;
      await sheet.place(picture, true);
      showSource(`The sheet shows ${nameOf(pkg, sample)}.`);
    } catch (error) {
      if (!signal.aborted) tell(error.message);
    }
  }

  function takeGenerated() {
    const { label, condition } = options.get();
    takeSample({ ...NO_OPTIONS, seed: newSeed(), label, condition: pkg.condition ? (condition ?? 0) : null });
  }

  /** Find the ground of this package's images, so that a drawing looks like one of them. */
  async function findGround() {
    try {
      const { numbers } = await api.post("generate?format=npy", { json: { ...wanted(pkg, { ...NO_OPTIONS, condition: options.get().condition }), n: GROUND_SAMPLES, seed: 0 }, signal, ...asNpy });
      const ground = groundOf(numbers, pkg.sample);
      if (sheet.blank) sheet.use(lightness(ground) < 128 ? "#ffffff" : "#000000", `#${ground.map((each) => each.toString(16).padStart(2, "0")).join("")}`);
      tools.ink.value = sheet.ink;
    } catch {
      // Then the ground is black.
    }
    sheet.canvas.dataset.ground = sheet.ground;
  }

  const tools = createTools();
  const samples = h("div", { class: "row" });
  const fit = h(
    "fieldset",
    { class: "chips fit", hidden: true },
    h("legend", { class: "visually-hidden" }, "How the picture fills the sheet"),
    [["all of it", true], ["fill the sheet", false]].map(([words, value]) => {
      const input = h("input", { type: "radio", name: "fit", checked: value === whole });
      input.addEventListener("change", () => {
        whole = value;
        placeSource();
      });
      return h("label", { class: "chip" }, input, h("span", {}, words));
    }),
  );
  const shown = h("p", { class: "hint" });

  function showSource(words = source ? `The sheet shows ${source.words}.` : "") {
    fit.hidden = source === null;
    shown.textContent = words;
    tell("");
  }

  function createTools() {
    const file = h("input", { type: "file", id: "picture", class: "visually-hidden", accept: "image/*", "aria-label": "Choose an image" });
    file.addEventListener("change", () => {
      if (file.files[0]) take(file.files[0]);
      file.value = "";
    });
    const pick = (words, erases) => {
      const input = h("input", { type: "radio", name: "tool", checked: !erases });
      input.addEventListener("change", () => (sheet.erases = erases));
      return h("label", { class: "chip" }, input, h("span", {}, words));
    };
    const button = (words, act) => h("button", { type: "button", class: "button small", onclick: act }, words);
    const least = Math.max(1, Math.min(width, height) / 56);
    const stroke = h("input", { type: "range", id: "stroke", min: least, max: Math.max(least * 2, Math.min(width, height) / 4), step: "any", value: sheet.stroke });
    stroke.addEventListener("input", () => (sheet.stroke = Number(stroke.value)));
    const ink = h("input", { type: "color", id: "ink", value: sheet.ink, "aria-label": "Ink" });
    ink.addEventListener("input", () => (sheet.ink = ink.value));
    const invert = () => {
      sheet.invert();
      ink.value = sheet.ink;
    };
    const clear = () => {
      source = null;
      sheet.clear();
      showSource();
    };
    const undo = () => {
      if (!sheet.undo()) status.say("There is nothing to undo.");
      source = null;
      showSource();
    };
    return {
      ink,
      undo,
      element: h(
        "div",
        { class: "paper-tools" },
        h("fieldset", { class: "chips" }, h("legend", { class: "visually-hidden" }, "Tool"), pick("Pen", false), pick("Eraser", true)),
        channels === 3 ? ink : null,
        h("label", { class: "plot-tool" }, "Stroke", stroke),
        button("Undo", undo),
        button("Clear", clear),
        button("Invert", invert),
        file,
        h("button", { type: "button", class: "button small", onclick: () => file.click() }, "Choose an image …"),
      ),
    };
  }

  function showSamples() {
    samples.replaceChildren(
      h("button", { type: "button", class: "button small", id: "score-generated", onclick: takeGenerated }, icon(ICONS.dice), "A generated sample"),
      ...kept.get().map((sample) =>
        h(
          "button",
          { type: "button", class: "keepsake", "data-sample": writeKept(sample), "aria-label": `Score ${nameOf(pkg, sample)}`, title: nameOf(pkg, sample), onclick: () => takeSample(sample) },
          thumbnail(context, sample),
        ),
      ),
    );
  }

  sheet.canvas.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key === "z") {
      event.preventDefault();
      tools.undo();
    }
  });
  container.append(
    h(
      "div",
      { class: "score" },
      h(
        "div",
        { class: "score-sheet" },
        sheet.element,
        results.brief,
        tools.element,
        fit,
        shown,
        note,
        h("p", { class: "hint", id: "paper-keys" }, `Draw, drop an image anywhere, or paste one: ${width} × ${height} pixels in ${channels === 1 ? "grey" : "colour"} are sent, as they are shown. Arrow keys move, the space bar lowers and lifts the pen.`),
        h("h2", {}, "Or score a sample"),
        samples,
      ),
      results.element,
    ),
  );
  takeFiles(take, tell, sheet.element, signal);
  const unsubscribe = [kept.subscribe(showSamples), options.subscribe(refresh)];
  showSamples();
  findGround();
  return () => {
    isMounted = false;
    clearTimeout(spoken);
    unsubscribe.forEach((each) => each());
    container.replaceChildren();
  };
}

const reconstructs = (pkg) => pkg.encodes.includes("latent") && !pkg.codes.length;

/** The part with what was answered: {element, brief, show(answers), clear(), wait(whether), words()}. */
function showResults(pkg) {
  const meter = dial();
  const facts = h("div", { class: "readings-of-score" });
  const trace = svg("polyline", { class: "trace-line", points: "" });
  const history = h(
    "div",
    { class: "trace", "aria-hidden": "true" },
    svg("svg", { viewBox: `0 0 ${TRACE} 24`, preserveAspectRatio: "none" }, svg("line", { class: "trace-middle", x1: 0, y1: 12, x2: TRACE, y2: 12 }), trace),
    h("p", { class: "hint" }, "P(real) as it changed; the line is 50%"),
  );
  const brief = h("p", { class: "score-brief", "aria-hidden": "true" });
  const readings = h("div", { class: "codes-read" });
  const again = h("div", { class: "again" });
  const element = h(
    "section",
    { class: "score-results", "aria-label": "What is said of it", "data-state": "empty" },
    pkg.judges ? [meter.element, history, facts] : h("p", { class: "hint" }, "This package has no discriminator with a calibration, so there is no score."),
    readings,
    again,
  );
  let scores = [];
  let last = null;

  return {
    element,
    brief,
    words: () => (last?.score ? `${share(last.score.probability)} real${last.score.label_name === undefined ? "" : `, most like ${last.score.label_name}`}.` : "The readings are new."),
    wait: (whether) => element.setAttribute("aria-busy", String(whether)),
    clear() {
      brief.replaceChildren();
      last = null;
      scores = [];
      meter.show(null);
      trace.setAttribute("points", "");
      history.classList.add("short");
      facts.replaceChildren(h("p", { class: "hint" }, "Draw something, and its score moves as you draw."));
      readings.replaceChildren();
      again.replaceChildren();
      element.dataset.state = "empty";
    },
    show(answers) {
      last = answers;
      if (answers.score) showScore(answers.score, answers.told);
      if (answers.codes) readings.replaceChildren(h("h2", {}, "Codes that are read"), ...codeReadings(pkg, answers.codes));
      if (answers.again) again.replaceChildren(h("h2", {}, "Reconstruction"), ...reconstruction(pkg, answers.again));
      element.dataset.state = "shown";
    },
  };

  function showScore(score, told) {
    meter.show(score.probability);
    brief.replaceChildren(h("strong", {}, share(score.probability)), ` ${verdict(score.probability)}${score.label_name === undefined ? "" : ` · most like ${score.label_name}`}`);
    scores = [...scores, score.probability].slice(-TRACE);
    history.classList.toggle("short", scores.length < 2);
    trace.setAttribute("points", scores.map((each, index) => `${index},${(23 - each * 22).toFixed(1)}`).join(" "));
    facts.replaceChildren(
      score.label_name === undefined
        ? told === null ? "" : h("p", {}, "Scored as class ", h("strong", {}, pkg.labels[told]), pkg.scoresAny ? "." : ": scores of this package need a class, to be chosen beside the sheet.")
        : h("p", {}, "Most like class ", h("strong", {}, score.label_name), `, ${share(score.label_probability)}`),
      h("h2", {}, "It scores higher than this share of"),
      h("ul", { class: "readings" }, bar("real samples", score.percentile_real / 100), bar("generated samples", score.percentile_generated / 100)),
      h("p", { class: "hint" }, `Logit ${short(score.logit)}; log density ratio ${short(score.log_density_ratio)} nats. The probability is calibrated, at even odds, between real and generated samples; of a picture unlike both it says little.${pkg.judges.batchCoupled ? " This discriminator judges a sample by those beside it; here each is alone." : ""}`),
    );
  }
}

function codeReadings(pkg, codes) {
  const rows = [];
  for (const code of pkg.codes) {
    const read = codes[code.name];
    if (read === undefined) continue;
    if (code.size === undefined) {
      rows.push(h("ul", { class: "readings", "data-code": code.name }, mark(code.name, read, code.low, code.high)));
      continue;
    }
    const all = read.probabilities.map((probability, value) => ({ value, probability }));
    const shown = code.size > MOST_BARS ? all.toSorted((a, b) => b.probability - a.probability).slice(0, MOST_BARS) : all;
    rows.push(
      h("h3", {}, code.name),
      h("ul", { class: "readings", "data-code": code.name }, shown.map(({ value, probability }) => bar(String(value), probability, { strong: value === read.value }))),
      code.size > MOST_BARS ? h("p", { class: "hint" }, `${code.size - MOST_BARS} other values have less.`) : "",
    );
  }
  return rows;
}

function reconstruction(pkg, { image, distance, label }) {
  const { width, height } = pkg.sample;
  return [
    h("img", { class: "again-image pixelated", src: image, width, height, alt: "What the generator makes of the latent that the encoder reads" }),
    h("p", {}, "Mean squared distance ", h("strong", {}, short(distance))),
    h("p", { class: "hint" }, `The encoder reads a latent in the sheet, and the generator draws it again${label === null ? "" : `, as class ${pkg.labels[label]}`}.`),
  ];
}

/** The median colour of the margins of images [N, H, W, C], as red, green and blue. */
function groundOf(numbers, { width, height, channels }) {
  const margin = [];
  for (let x = 0; x < width; x += 1) margin.push([0, x], [height - 1, x]);
  for (let y = 0; y < height; y += 1) margin.push([y, 0], [y, width - 1]);
  const size = width * height * channels;
  const median = (channel) => {
    const values = [];
    for (let start = 0; start < numbers.length; start += size) for (const [y, x] of margin) values.push(numbers[start + (y * width + x) * channels + channel]);
    return values.sort((a, b) => a - b)[values.length >> 1];
  };
  return [0, 1, 2].map((channel) => median(channels === 1 ? 0 : channel));
}

const lightness = ([red, green, blue]) => 0.299 * red + 0.587 * green + 0.114 * blue;

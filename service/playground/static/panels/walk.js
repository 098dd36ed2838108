// The walk: what lies between kept samples, along the path between their latents, as a film that can be scrubbed.

import { ICONS, bounded, h, icon, wantsStill } from "../dom.js";
import { nameOf, thumbnail } from "../kept.js";
import { wanted } from "../packages.js";
import { newSeed } from "../controls.js";
import { NO_OPTIONS, toggle, writeKept } from "../state.js";

export const id = "walk";
export const title = "Walk";
export const uses = [];
export const suits = (pkg) => pkg.kind === "image";

const COARSE = 9; // a first answer at once; every fourth frame of the fine one
const FINE = 33;
const FRAMES_PER_S = 14;
const SPEEDS = [0.5, 1, 2];
const LEAST_SIDE = 384; // of the picture, in device pixels

export function mount(container, context) {
  const { api, pkg, kept, status, signal } = context;
  const legs = new Map(); // "from>to" → {frames, ready}
  let route = []; // kept samples in the order that they are passed
  let position = 0; // in legs
  let playing = false;
  let speed = 1;
  let last = 0;

  const scale = Math.max(1, Math.ceil(LEAST_SIDE / Math.max(pkg.sample.width, pkg.sample.height)));
  const canvas = h("canvas", { class: "film", role: "img", width: pkg.sample.width * scale, height: pkg.sample.height * scale });
  const drawing = canvas.getContext("2d");
  drawing.imageSmoothingEnabled = scale === 1;

  function show() {
    const samples = kept.get();
    if (samples.length < 2) {
      stop();
      container.replaceChildren(
        h(
          "div",
          { class: "empty" },
          h("p", {}, "A walk goes from one kept sample to another. Keep two of the wall, or take two at random."),
          h("button", { type: "button", class: "button", id: "two-at-random", onclick: keepTwo }, icon(ICONS.dice), "Two at random"),
        ),
      );
      return;
    }
    const old = route.map(writeKept);
    route = samples;
    if (route.map(writeKept).join() !== old.join()) position = bounded(position, 0, route.length - 1);
    container.replaceChildren(stage());
    prepare();
    if (!wantsStill() && !playing) play();
    draw();
  }

  function keepTwo() {
    const asked = context.options.get();
    for (let more = 2 - kept.get().length; more > 0; more -= 1) {
      toggle(kept, { ...NO_OPTIONS, label: asked.label, condition: pkg.condition ? (asked.condition ?? 0) : null, seed: newSeed() });
    }
  }

  const button = h("button", { type: "button", class: "button primary", id: "play", onclick: () => (playing ? stop() : play()) });
  const slider = h("input", { type: "range", id: "position", min: 0, step: 0.002, "aria-label": "Position on the walk" });
  slider.addEventListener("input", () => {
    stop();
    position = Number(slider.value);
    prepare();
    draw();
  });
  const words = h("output", { class: "hint", for: "position" });
  const pace = h(
    "select",
    { id: "pace", "aria-label": "Speed", onchange: () => (speed = Number(pace.value)) },
    SPEEDS.map((each) => h("option", { value: each, selected: each === speed }, `${each} ×`)),
  );

  function stage() {
    slider.max = route.length - 1;
    const stops = route.map((sample, index) =>
      h(
        "li",
        {},
        h(
          "button",
          { type: "button", class: "keepsake", "aria-label": `Go to ${nameOf(pkg, sample)}`, onclick: () => goTo(index) },
          thumbnail(context, sample),
          h("span", { class: "caption" }, String(sample.seed)),
        ),
      ),
    );
    return h("div", { class: "walk" }, canvas, h("div", { class: "player" }, button, slider, pace), words, h("ol", { class: "strip stops", "aria-label": "Stops" }, stops));
  }

  function goTo(index) {
    stop();
    position = index;
    prepare();
    draw();
  }

  const between = (index) => [route[index], route[index + 1]];
  const key = (index) => between(index).map(writeKept).join(">");

  /** Fetch the leg that is shown, and then the one after it. */
  function prepare() {
    const index = Math.min(Math.floor(position), route.length - 2);
    fetchLeg(index).then(() => fetchLeg((index + 1) % (route.length - 1)), () => {});
  }

  async function fetchLeg(index) {
    if (legs.has(key(index))) return legs.get(key(index)).ready;
    const leg = { frames: [], ready: null };
    legs.set(key(index), leg);
    leg.ready = (async () => {
      for (const steps of [COARSE, FINE]) {
        const { samples } = await api.post("generate", { json: request(...between(index), steps), signal });
        leg.frames = await Promise.all(samples.map(decode));
        draw();
      }
    })();
    leg.ready.catch((error) => {
      legs.delete(key(index));
      status.fail(error);
    });
    return leg.ready;
  }

  /** The frames between two samples: latents along the path, numbers of codes in a line, classes halfway. */
  function request(from, to, steps) {
    const shares = Array.from({ length: steps }, (_, step) => step / (steps - 1));
    const nearest = (share) => (share < 0.5 ? from : to);
    const { label, condition, codes, ...fields } = wanted(pkg, from);
    const path = pkg.latent.prior === "standard_normal" ? "slerp" : "lerp";
    const json = { ...fields, interpolate: { from: from.seed, to: to.seed, steps, path } };
    if (pkg.labels && from.label !== null && to.label !== null) json.labels = shares.map((share) => nearest(share).label);
    if (pkg.condition) json.condition = shares.map((share) => nearest(share).condition ?? 0);
    if (pkg.codes.length) json.codes = shares.map((share) => codesAt(from, to, share));
    return json;
  }

  function codesAt(from, to, share) {
    const codes = {};
    for (const { name, size } of pkg.codes) {
      const [a, b] = [from.codes[name], to.codes[name]];
      if (a === undefined || b === undefined) continue;
      codes[name] = size === undefined ? a + (b - a) * share : share < 0.5 ? a : b;
    }
    return codes;
  }

  function draw() {
    if (route.length < 2) return;
    const index = Math.min(Math.floor(position), route.length - 2);
    const frames = legs.get(key(index))?.frames ?? [];
    slider.value = position;
    const share = position - index;
    const [from, to] = between(index);
    words.textContent = `${Math.round(share * 100)} % from ${nameOf(pkg, from)} to ${nameOf(pkg, to)}`;
    slider.setAttribute("aria-valuetext", words.textContent);
    canvas.setAttribute("aria-label", `The sample at ${words.textContent}`);
    canvas.dataset.frames = frames.length;
    if (!frames.length) return;
    const at = share * (frames.length - 1);
    paint(frames[Math.floor(at)], 1);
    if (at % 1 && !wantsStill()) paint(frames[Math.ceil(at)], at % 1);
  }

  function paint(frame, alpha) {
    drawing.globalAlpha = alpha;
    drawing.drawImage(frame, 0, 0, canvas.width, canvas.height);
  }

  function tick(now) {
    if (!playing) return;
    const index = Math.min(Math.floor(position), route.length - 2);
    const isReady = legs.get(key(index))?.frames.length;
    if (last && isReady) {
      position += ((now - last) / 1000) * ((FRAMES_PER_S * speed) / (FINE - 1));
      if (position >= route.length - 1) position = 0;
      if (Math.floor(position) !== index) prepare();
      draw();
    }
    last = now;
    requestAnimationFrame(tick);
  }

  function play() {
    playing = true;
    last = 0;
    faceButton();
    requestAnimationFrame(tick);
  }

  function stop() {
    playing = false;
    faceButton();
  }

  function faceButton() {
    button.replaceChildren(icon(playing ? ICONS.pause : ICONS.play), playing ? "Pause" : "Play");
  }

  faceButton();
  const unsubscribe = kept.subscribe(show);
  show();
  return () => {
    stop();
    unsubscribe();
    container.replaceChildren();
  };
}

async function decode({ image }) {
  const frame = new Image();
  frame.src = image;
  await frame.decode();
  return frame;
}

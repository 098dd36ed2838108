// The walk: what lies between kept samples, along the path between their latents, as a film that can be scrubbed.

import { newSeed } from "../controls.js";
import { ICONS, bounded, h, icon, isSmall, percent, wantsStill } from "../dom.js";
import { nameOf, thumbnail } from "../kept.js";
import { drawn, wanted } from "../packages.js";
import { writeKept } from "../state.js";

export const id = "walk";
export const title = "Walk";
export const uses = [];
export const suits = (pkg) => pkg.kind === "image";

const COARSE = 9; // a first answer at once; every fourth frame of the fine one
const FINE = 33;
const FRAMES_PER_S = 14;
const SPEEDS = [0.5, 1, 2, 4];
const LEAST_SIDE = 384; // of the picture, in its own pixels
const MOST_LEGS = 12; // whose frames are held
const LONGEST_STEP_MS = 100; // a page that was not in sight goes on where it was

export function mount(container, context) {
  const { api, pkg, kept, status, signal } = context;
  const legs = new Map(); // two samples → {frames, ready}, the one used last at the end
  const left = new Set(); // kept samples that the walk leaves out
  let route = []; // the others in their order, and the first again: the walk is closed
  let position = 0; // in legs
  let playing = false;
  let last = 0;

  const scale = isSmall(pkg) ? Math.ceil(LEAST_SIDE / Math.max(pkg.sample.width, pkg.sample.height)) : 1;
  const canvas = h("canvas", { class: isSmall(pkg) ? "film pixelated" : "film", role: "img", width: pkg.sample.width * scale, height: pkg.sample.height * scale });
  const drawing = canvas.getContext("2d");
  drawing.imageSmoothingEnabled = !isSmall(pkg);
  const button = h("button", { type: "button", class: "button primary", id: "play", onclick: () => (playing ? stop() : play()) });
  const slider = h("input", { type: "range", id: "position", min: 0, step: 0.002, "aria-label": "Position on the walk" });
  slider.addEventListener("input", () => {
    stop();
    goTo(Number(slider.value));
  });
  const words = h("output", { class: "hint", for: "position" });
  const pace = h(
    "select",
    { id: "pace", "aria-label": "Speed" },
    SPEEDS.map((each) => h("option", { value: each, selected: each === 1 }, `${each} ×`)),
  );
  const stops = h("ul", { class: "strip stops", "aria-label": "Stops" });
  const stage = h(
    "div",
    { class: "walk" },
    canvas,
    h("div", { class: "player" }, button, slider, pace),
    words,
    stops,
    h("p", { class: "hint" }, "Press a stop to leave it out, or to take it in again."),
  );
  const empty = h(
    "div",
    { class: "empty" },
    h("p", {}, "A walk goes from one kept sample to the next. Keep two in the wall, or take two at random."),
    h("button", { type: "button", class: "button", id: "two-at-random", onclick: keepTwo }, icon(ICONS.dice), "Two at random"),
  );

  function show() {
    const samples = kept.get();
    if (samples.length < 2) {
      stop();
      route = [];
      container.replaceChildren(empty);
      return;
    }
    let chosen = samples.filter((sample) => !left.has(writeKept(sample)));
    if (chosen.length < 2) {
      left.clear();
      chosen = samples;
    }
    const isFirst = route.length === 0;
    route = [...chosen, chosen[0]];
    slider.max = route.length - 1;
    stops.replaceChildren(...samples.map(stopOf));
    if (isFirst) container.replaceChildren(stage);
    goTo(Math.min(position, route.length - 1));
    if (isFirst && !wantsStill()) play();
  }

  function stopOf(sample) {
    const key = writeKept(sample);
    const toggle = h(
      "button",
      { type: "button", class: "keepsake", "aria-pressed": String(!left.has(key)), "aria-label": nameOf(pkg, sample), title: nameOf(pkg, sample) },
      thumbnail(context, sample),
      h("span", { class: "caption" }, String(sample.seed)),
    );
    toggle.addEventListener("click", () => {
      if (!left.delete(key)) {
        if (route.length - 1 > 2) left.add(key);
        else status.say("A walk needs two stops.");
      }
      show();
      [...stops.querySelectorAll("button")][kept.get().findIndex((each) => writeKept(each) === key)]?.focus();
    });
    return h("li", {}, toggle);
  }

  async function keepTwo() {
    const asked = { ...context.options.get(), truncation: null };
    const seeds = Array.from({ length: 2 - kept.get().length }, newSeed);
    try {
      const { samples } = await api.post("generate", { json: { ...wanted(pkg, asked), seeds }, signal });
      kept.set([...kept.get(), ...samples.map((sample) => drawn(pkg, sample, asked))]);
      button.focus();
    } catch (error) {
      status.fail(error);
    }
  }

  function goTo(place) {
    position = place;
    prepare();
    draw();
  }

  const legAt = (place) => bounded(Math.floor(place), 0, route.length - 2);
  const between = (index) => [route[index], route[index + 1]];
  const keyOf = (index) => between(index).map(writeKept).join(">");

  /** Fetch the leg that is shown, and then the one after it. */
  function prepare() {
    const index = legAt(position);
    const following = (index + 1) % (route.length - 1);
    // Each leg has said what went wrong with it.
    fetchLeg(index).then(() => (following < route.length - 1 ? fetchLeg(following) : null)).catch(() => {});
  }

  function fetchLeg(index) {
    const key = keyOf(index);
    const known = legs.get(key);
    legs.delete(key);
    const leg = known ?? { frames: [], ready: null };
    legs.set(key, leg);
    for (const oldest of legs.keys()) if (legs.size > MOST_LEGS) legs.delete(oldest);
    if (!known) {
      const ends = between(index);
      leg.ready = (async () => {
        for (const steps of [COARSE, FINE]) {
          const { samples } = await api.post("generate", { json: request(...ends, steps), signal });
          leg.frames = await Promise.all(samples.map(decode));
          draw();
        }
      })();
      leg.ready.catch((error) => {
        legs.delete(key);
        stop();
        status.fail(error);
      });
    }
    return leg.ready;
  }

  /** The frames between two samples: latents along the path, numbers of codes in a line, classes halfway. */
  function request(from, to, steps) {
    const shares = Array.from({ length: steps }, (_, step) => step / (steps - 1));
    const nearest = (share) => (share < 0.5 ? from : to);
    const { model, version, truncation } = wanted(pkg, from);
    const path = pkg.latent.prior === "standard_normal" ? "slerp" : "lerp";
    const json = { model, version, interpolate: { from: from.seed, to: to.seed, steps, path } };
    if (truncation !== undefined) json.truncation = truncation;
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
    const index = legAt(position);
    const [from, to] = between(index);
    const frames = legs.get(keyOf(index))?.frames ?? [];
    const share = position - index;
    slider.value = position;
    words.textContent = `${percent(share)} from ${nameOf(pkg, from)} to ${nameOf(pkg, to)}`;
    slider.setAttribute("aria-valuetext", words.textContent);
    canvas.setAttribute("aria-label", `The sample at ${words.textContent}`);
    canvas.dataset.frames = frames.length;
    if (!frames.length) return;
    const at = share * (frames.length - 1);
    const isStill = wantsStill();
    paint(frames[isStill ? Math.round(at) : Math.floor(at)], 1);
    if (!isStill && at % 1) paint(frames[Math.ceil(at)], at % 1);
  }

  function paint(frame, alpha) {
    drawing.globalAlpha = alpha;
    drawing.drawImage(frame, 0, 0, canvas.width, canvas.height);
  }

  function tick(now) {
    if (!playing || route.length < 2) return;
    const index = legAt(position);
    if (last && legs.get(keyOf(index))?.frames.length) {
      position += (Math.min(now - last, LONGEST_STEP_MS) / 1000) * ((FRAMES_PER_S * Number(pace.value)) / (FINE - 1));
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
    prepare();
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

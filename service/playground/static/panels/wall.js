// The wall: samples of consecutive seeds, more of them as one scrolls; a click keeps one.

import { bounded, h, isSmall, percent } from "../dom.js";
import { nameOf } from "../kept.js";
import { drawn, wanted } from "../packages.js";
import { LARGEST_SEED, memory, same } from "../state.js";

export const id = "wall";
export const title = "Wall";
export const uses = ["seed", "label", "truncation", "codes", "condition"];
export const suits = (pkg) => pkg.kind === "image";

const FIRST_SAMPLES = 24;
const MOST_SAMPLES = 64;
const CHUNK_PIXELS = 2 ** 19; // so that a chunk of large images is here as soon as one of small ones
const LONGEST_WALL = 4_096; // then it goes on at another seed: a page of ever more elements becomes slow
const AHEAD = "800px";

export function mount(container, context) {
  const { api, pkg, options, kept, keep, status, signal } = context;
  const list = h("ul", { class: "wall", role: "list", "aria-label": "Samples" });
  const end = h("div", { class: "wall-end" });
  const range = h("p", { class: "hint" });
  const tileSize = h("input", { type: "range", id: "tile-size", min: 56, max: 256, step: 4, value: Number(memory.get("tile")) || (isSmall(pkg) ? 88 : 148) });
  const resize = () => list.style.setProperty("--tile", `${tileSize.value}px`);
  tileSize.addEventListener("input", () => {
    memory.set("tile", tileSize.value);
    resize();
  });
  resize();
  container.append(h("div", { class: "bar" }, range, h("label", {}, "Size", tileSize)), list, end);
  const size = bounded(Math.floor(CHUNK_PIXELS / (pkg.sample.width * pkg.sample.height)), 4, MOST_SAMPLES);
  let drawing = new AbortController();
  let tiles = [];
  let next = 0;
  let busy = false;

  // Several changes may come at once; the last says how things are.
  const observer = new IntersectionObserver((changes) => changes.at(-1).isIntersecting && extend(), { rootMargin: AHEAD });

  function restart() {
    drawing.abort();
    drawing = new AbortController();
    next = options.get().seed;
    busy = false;
    list.classList.add("stale");
    tiles = [];
    end.replaceChildren();
    observer.disconnect();
    extend();
  }

  async function extend() {
    if (busy) return;
    const n = Math.min(tiles.length ? size : Math.min(size, FIRST_SAMPLES), LARGEST_SEED - next + 1);
    if (n < 1) return;
    if (tiles.length >= LONGEST_WALL) {
      offer(`Go on at seed ${next}`, () => options.set({ ...options.get(), seed: next }));
      return;
    }
    busy = true;
    const mine = drawing;
    const asked = options.get();
    const json = { ...wanted(pkg, asked), n, seed: next, scores: pkg.scored };
    try {
      const { samples } = await api.post("generate", { json, signal: AbortSignal.any([signal, mine.signal]) });
      if (mine !== drawing) return;
      if (list.classList.contains("stale")) {
        list.replaceChildren();
        list.classList.remove("stale");
        status.say(`Samples from seed ${next}.`);
      }
      add(samples, asked);
      next += samples.length;
      busy = false;
      observer.unobserve(end); // its next answer says whether the end is still in sight
      observer.observe(end);
    } catch (error) {
      if (mine !== drawing || signal.aborted) return;
      busy = false;
      offer("Try again", extend, error.message);
      status.say(error.message);
    }
  }

  function offer(words, act, reason = "") {
    const button = h("button", { type: "button", class: "button" }, words);
    button.addEventListener("click", () => {
      end.replaceChildren();
      act();
    });
    end.replaceChildren(h("div", { class: "empty" }, reason ? h("p", {}, reason) : null, button));
  }

  function add(samples, asked) {
    const chunk = samples.map((sample) => {
      const words = [nameOf(pkg, { seed: sample.seed, label: sample.label ?? null })];
      if (sample.realness !== undefined) words.push(`realness ${percent(sample.realness)}`);
      const tile = h(
        "button",
        { type: "button", class: "tile", tabindex: "-1", "aria-pressed": "false", "aria-label": words.join(", "), title: words.join(", ") },
        h("img", { src: sample.image, alt: "", width: pkg.sample.width, height: pkg.sample.height, class: isSmall(pkg) ? "pixelated" : null }),
        h(
          "span",
          { class: "caption" },
          h("span", { class: "seed" }, String(sample.seed)),
          sample.realness === undefined ? null : h("span", { class: "share" }, percent(sample.realness)),
        ),
        sample.realness === undefined ? null : h("span", { class: "meter", vars: { share: sample.realness } }),
      );
      tile.drawn = drawn(pkg, sample, asked);
      return tile;
    });
    if (!tiles.length) chunk[0]?.setAttribute("tabindex", "0");
    tiles.push(...chunk);
    list.append(...chunk.map((tile) => h("li", {}, tile)));
    mark(chunk);
    range.textContent = `Seeds ${tiles[0].drawn.seed} to ${tiles.at(-1).drawn.seed}${pkg.scored ? ", with their realness" : ""}`;
  }

  function mark(some) {
    const all = kept.get();
    for (const tile of some) tile.setAttribute("aria-pressed", String(all.some((each) => same(each, tile.drawn))));
  }

  list.addEventListener("click", (event) => {
    const tile = event.target.closest(".tile");
    if (!tile) return;
    focus(tile);
    status.say(keep(tile.drawn) ? `Seed ${tile.drawn.seed} is kept.` : `Seed ${tile.drawn.seed} is no longer kept.`);
  });

  list.addEventListener("keydown", (event) => {
    const at = tiles.indexOf(event.target.closest(".tile"));
    if (at < 0 || event.altKey || event.metaKey) return;
    const columns = tiles.filter((tile) => tile.offsetTop === tiles[0].offsetTop).length;
    const row = at - (at % columns);
    const to = {
      ArrowRight: at + 1,
      ArrowLeft: at - 1,
      ArrowDown: at + columns,
      ArrowUp: at - columns,
      Home: event.ctrlKey ? 0 : row,
      End: event.ctrlKey ? tiles.length - 1 : row + columns - 1,
      PageDown: at + 4 * columns,
      PageUp: at - 4 * columns,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    focus(tiles[bounded(to, 0, tiles.length - 1)]);
  });

  function focus(tile) {
    tiles.forEach((each) => each.tabIndex === 0 && (each.tabIndex = -1));
    tile.tabIndex = 0;
    tile.focus({ preventScroll: true });
    tile.scrollIntoView({ block: "nearest" });
  }

  const unsubscribe = [options.subscribe(restart), kept.subscribe(() => mark(tiles))];
  restart();
  return () => {
    unsubscribe.forEach((each) => each());
    observer.disconnect();
    container.replaceChildren();
  };
}

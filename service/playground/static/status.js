// Tells people how the service fares: a line at the top for what is waited for or failed, and words for screen readers.

import { h } from "./dom.js";

/**
 * @param {HTMLElement} banner shown while something is waited for, or until a failure is closed
 * @param {HTMLElement} live read aloud, not shown
 */
export function createStatus(banner, live) {
  const waits = new Map();
  let failure = null;
  let next = 0;

  const waiting = {
    wake: () => {},
    begin(words) {
      next += 1;
      waits.set(next, words);
      show();
      return next;
    },
    end(token, isAnswered) {
      waits.delete(token);
      show();
      if (isAnswered && waits.size === 0) say("The service answers.");
    },
  };

  function say(words) {
    live.textContent = words;
  }

  function show() {
    const words = [...waits.values()].at(-1) ?? failure;
    banner.hidden = !words;
    banner.classList.toggle("failed", waits.size === 0);
    if (!words) return banner.replaceChildren();
    const button = waits.size
      ? h("button", { type: "button", onclick: () => waiting.wake() }, "Try now")
      : h("button", { type: "button", onclick: () => status.fail(null) }, "Close");
    return banner.replaceChildren(h("span", {}, words), button);
  }

  const status = {
    waiting,
    say,
    /** Show what went wrong until it is closed; null takes it away. What was aborted is no failure. */
    fail(error) {
      if (error?.name === "AbortError") return;
      failure = error ? error.message : null;
      show();
    },
  };
  return status;
}

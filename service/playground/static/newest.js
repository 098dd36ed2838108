// Work on what changes faster than the service answers: one run at a time, and the next takes what is newest by then.

/**
 * Make a function that asks for a run.
 * @param {Function} work async; does one run with what is newest
 * @param {number} pauseMs least time between the beginnings of two runs
 * @returns {Function} `ask()`; any number of calls during a run make one more
 */
export function newest(work, pauseMs) {
  let running = false;
  let again = false;
  return async function ask() {
    again = true;
    if (running) return;
    running = true;
    while (again) {
      again = false;
      const pause = new Promise((resolve) => setTimeout(resolve, pauseMs));
      await work();
      await pause;
    }
    running = false;
  };
}

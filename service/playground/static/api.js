// Calls of the service: JSON in and out, errors in words, and patience with what passes by itself.

const MOST_TRIES = 8; // about a minute with these pauses; then a person decides
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 10_000;
const UNAUTHORIZED = 401;
const PASSING = new Set([429, 502, 503, 504]);
const WORDS = {
  429: "The service has more requests than it can answer",
  502: "The service cannot be reached through its proxy",
  503: "The service is not ready",
  504: "The service did not answer before the deadline",
};

/** What the service refused, or could not answer; its message is a sentence for people. */
export class ServiceError extends Error {
  constructor(message, status = 0) {
    super(message);
    this.name = "ServiceError";
    this.status = status;
  }
}

/**
 * Make the client of the service that the page came from.
 * @param {Object} waiting told of pauses: `begin(words)` answers a token, `end(token, isAnswered)` ends it, and `wake` is
 *   set to a function that ends all pauses at once
 * @param {Object} keys of key.js
 * @returns {{get: Function, post: Function, url: Function}}
 */
export function createApi(waiting, keys) {
  const sleepers = new Set();
  waiting.wake = () => sleepers.forEach((wake) => wake());
  addEventListener("online", waiting.wake);

  const url = (path) => new URL(path, document.baseURI).href;

  function pause(milliseconds, signal) {
    return new Promise((resolve, reject) => {
      const end = () => {
        clearTimeout(timer);
        sleepers.delete(end);
        signal?.removeEventListener("abort", end);
        if (signal?.aborted) reject(signal.reason);
        else resolve();
      };
      const timer = setTimeout(end, milliseconds);
      sleepers.add(end);
      signal?.addEventListener("abort", end);
    });
  }

  /** Ask until it is answered, or until patience ends; `read` takes what is wanted of the response. */
  async function request(path, { method = "GET", json, body, type, accept = "application/json", signal, read = (answer) => answer.json() } = {}) {
    const headers = { accept };
    if (json !== undefined) headers["content-type"] = "application/json";
    else if (type) headers["content-type"] = type;
    const withKey = (key) => (key === null ? headers : { ...headers, "x-api-key": key });
    const bodyNow = () => (json !== undefined ? JSON.stringify(json) : typeof body === "function" ? body() : body);
    let token = null;
    let isAnswered = false;
    try {
      for (let tries = 1; ; tries += 1) {
        const key = keys.get();
        const { found, reason, after, locked } = await attempt(url(path), { method, headers: withKey(key), signal, body: bodyNow() }, read);
        if (locked) {
          if (key === keys.get() && !(await keys.ask(locked.message))) throw locked;
          tries -= 1; // one that was asked with another key does not count
          continue;
        }
        if (!reason) {
          isAnswered = true;
          return found;
        }
        if (tries === MOST_TRIES) throw reason;
        const pauseMs = after ?? Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (tries - 1));
        if (token !== null) waiting.end(token, false);
        token = waiting.begin(`${reason.message} Trying again in ${Math.max(1, Math.round(pauseMs / 1000))} s.`);
        await pause(pauseMs, signal);
      }
    } finally {
      if (token !== null) waiting.end(token, isAnswered);
    }
  }

  return {
    url,
    /** Whether requests need a key, so that an address alone does not draw a picture. */
    hasKey: () => keys.get() !== null,
    /** GET; answers what the JSON holds. */
    get: (path, options = {}) => request(path, options),
    /** POST of `json`, or of a `body` of a `type` (or a function that gives the newest one); answers what the JSON holds. */
    post: (path, options = {}) => request(path, { ...options, method: "POST" }),
    /** As `get` and `post`; with `accept` and `read` (such as `(response) => response.blob()`) for other forms. */
    request,
  };
}

async function attempt(address, sent, read) {
  let answer;
  try {
    answer = await fetch(address, sent);
    if (answer.ok) return { found: await read(answer) };
  } catch (error) {
    if (sent.signal?.aborted) throw error;
    return { reason: new ServiceError(answer ? "The connection to the service was lost." : "The service cannot be reached.") };
  }
  const said = await detail(answer);
  if (answer.status === UNAUTHORIZED) return { locked: new ServiceError(said, answer.status) };
  if (!PASSING.has(answer.status)) throw new ServiceError(said, answer.status);
  const seconds = Number(answer.headers.get("retry-after"));
  const reason = new ServiceError(`${WORDS[answer.status]} (${answer.status}: ${said}).`, answer.status);
  return { reason, after: seconds > 0 ? Math.min(LONGEST_PAUSE_MS, seconds * 1000) : undefined };
}

/** What a problem document says, or the status where it is none. */
async function detail(answer) {
  try {
    const problem = await answer.json();
    return problem.detail || problem.title || answer.statusText;
  } catch {
    return answer.statusText || `status ${answer.status}`;
  }
}

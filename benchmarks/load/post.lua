-- POST /generate-like requests for wrk: {"n":N,"seed":S}, another seed each time, so that no cache can answer.
-- What happened is written as one line of JSON behind the word RESULT; wrk's own report is for people.
-- Arguments after `--`: the body before the seed, the body behind it, the seeds of one request. API_KEY is sent, if set.

local head, tail, step, seed
local headers = {["Content-Type"] = "application/json"}

local threads = 0
function setup(thread)
  thread:set("thread_id", threads)
  threads = threads + 1
end

function init(args)
  head, tail, step = args[1], args[2], tonumber(args[3])
  seed = math.floor(thread_id * 1000000000)
  local key = os.getenv("API_KEY")
  if key and key ~= "" then headers["Authorization"] = "Bearer " .. key end
end

function request()
  seed = seed + step
  return wrk.format("POST", nil, headers, head .. seed .. tail)
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"requests": %d, "duration_us": %d, "bytes": %d, "p50_us": %.1f, "p90_us": %.1f, "p99_us": %.1f, ' ..
    '"max_us": %.1f, "refused": %d, "broken": %d}\n',
    summary.requests, summary.duration, summary.bytes, latency:percentile(50), latency:percentile(90),
    latency:percentile(99), latency.max, errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end

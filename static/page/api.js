// The REST API, and the server's clock.

const READ_MS = 15000;   // patience for a question
const ACT_MS = 90000;    // creating a machine may wait for Fly's rate limit

export class Api {
  #fetch;
  #now;
  #clockAheadMs = 0;   // by which the server's clock is ahead of ours

  // `fetch` is the browser's; `now()` is the time in milliseconds since 1970.
  constructor({ fetch, now }) {
    this.#fetch = fetch;
    this.#now = now;
  }

  // The server's time: what it says about times is compared with this.
  serverNow() {
    return this.#now() + this.#clockAheadMs;
  }

  // Return the answer's JSON. Throws an Error with the API's message and `status`; 0 where the server does not answer.
  async call(method, path, body) {
    const response = await this.#send(method, path, body);
    this.#clockAheadMs = Date.parse(response.headers.get("Date")) - this.#now() || 0;
    const answer = await response.json().catch(() => null);
    if (response.ok) return answer;
    throw asError(response, answer?.error);
  }

  async #send(method, path, body) {
    const options = { method, signal: AbortSignal.timeout(method === "GET" ? READ_MS : ACT_MS), cache: "no-store" };
    if (body) Object.assign(options, { headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
    try {
      return await this.#fetch(path, options);
    } catch {
      throw Object.assign(new Error("The aether server does not answer. Is it running, and are you online?"), { status: 0 });
    }
  }
}

function asError({ status, statusText }, error) {
  const { message, path } = error || { message: `The server answered ${status} ${statusText}` };
  return Object.assign(new Error(path ? `${path}: ${message}` : message), { status });
}

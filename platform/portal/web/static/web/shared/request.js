// Requests to the REST interface from a page: the session's cookie, its CSRF token, problem documents as errors.

/** What the portal answered instead of what was asked: `code`, `message`, `status`, `where`, `suggestions`. */
export class Problem extends Error {
  constructor(body, status) {
    super(body.detail || body.title || `The portal answered ${status}.`);
    this.name = "Problem";
    this.status = status;
    this.code = body.code || "unknown";
    this.where = body.where || null;
    this.suggestions = body.suggestions || [];
    this.body = body;
  }
}

const token = () => document.cookie.match(/(?:^|; )csrftoken=([^;]+)/)?.[1] ?? "";

/** The JSON body of an answer, or null for none. Raises Problem; a lost connection is a Problem of status 0. */
export async function request(address, { method = "GET", json, body, headers = {}, signal } = {}) {
  const answer = await raw(address, { method, json, body, headers, signal });
  return answer.status === 204 ? null : answer.json();
}

/** The same, as the Response: for ETag, Retry-After and bytes. */
export async function raw(address, { method = "GET", json, body, headers = {}, signal } = {}) {
  const sent = { Accept: "application/json", ...headers };
  if (method !== "GET" && method !== "HEAD") sent["X-CSRFToken"] = token();
  if (json !== undefined) sent["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(address, {
      method, headers: sent, body: json === undefined ? body : JSON.stringify(json), credentials: "same-origin", signal,
    });
  } catch (wrong) {
    if (wrong.name === "AbortError") throw wrong;
    throw new Problem({ code: "connection", detail: "The portal cannot be reached. Nothing is lost; try again." }, 0);
  }
  if (answer.ok || answer.status === 304) return answer;
  let problem = {};
  try { problem = await answer.json(); } catch { /* not a problem document: the status says enough */ }
  if (answer.status === 401 || answer.status === 403 && problem.code === "not_authenticated") {
    problem = { ...problem, code: "session", detail: "Your session has ended. Log in again in another tab, then go on here." };
  }
  throw new Problem(problem, answer.status);
}

/** A pause that a signal ends. */
export const pause = (milliseconds, signal) => new Promise((done, stop) => {
  const timer = setTimeout(done, milliseconds);
  signal?.addEventListener("abort", () => { clearTimeout(timer); stop(signal.reason); }, { once: true });
});

// The service's HTTP API, as the pages use it.

/** A refusal of the service (RFC 9457), or a connection that failed (`status` 0). */
export class Problem extends Error {
  /** @param {number} status @param {any} body @param {string | null} [retryAfter] */
  constructor(status, body, retryAfter) {
    super(body?.detail ?? body?.title ?? `status ${status}`);
    this.status = status;
    this.body = body ?? {};
    this.kind = String(this.body.type ?? "").replace("urn:cameo:problem:", "") || (status === 0 ? "offline" : "internal");
    this.retryAfter = Number(retryAfter) || 0;
  }
}

/** @type {string | null} the client token of an embedded page; a page of its own has its cookie */
let token = null;

/** @param {string | null} fresh */
export function useToken(fresh) {
  token = fresh;
}

/** The headers that say who asks. @returns {Record<string, string>} */
export function credentials() {
  return token ? { authorization: `Bearer ${token}` } : { "x-cameo-page": "1" };
}

/**
 * Calls the service.
 * @param {string} method
 * @param {string} path
 * @param {{ body?: unknown, headers?: Record<string, string>, signal?: AbortSignal }} [options]
 * @returns {Promise<Response>}
 */
export async function call(method, path, { body, headers = {}, signal } = {}) {
  const json = body !== undefined;
  let response;
  try {
    response = await fetch(path, {
      method,
      signal,
      credentials: "same-origin",
      cache: "no-store",
      headers: { accept: "application/json", ...credentials(), ...(json ? { "content-type": "application/json" } : {}), ...headers },
      body: json ? JSON.stringify(body) : undefined,
    });
  } catch (e) {
    if (signal?.aborted) throw e;
    throw new Problem(0, { detail: String(e) });
  }
  if (response.ok) return response;
  throw new Problem(response.status, await response.json().catch(() => null), response.headers.get("retry-after"));
}

/** @param {string} path @returns {Promise<any>} */
export async function get(path) {
  return (await call("GET", path)).json();
}

/**
 * @param {string} method
 * @param {string} path
 * @param {unknown} [body]
 * @param {Record<string, string>} [headers]
 * @returns {Promise<any>}
 */
export async function send(method, path, body, headers) {
  const response = await call(method, path, { body, headers });
  return response.status === 204 ? null : response.json();
}

/** A key for a call that must not be carried out twice. */
export function freshKey() {
  return crypto.randomUUID();
}

/** @param {number} ms @param {AbortSignal} [signal] */
export function sleep(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)));
  });
}

/**
 * Follows server-sent events. `fetch` and not `EventSource`, which can't send a credential.
 * @param {string} path
 * @param {AbortSignal} signal
 * @yields {{ event: string, data: any }}
 */
export async function* events(path, signal) {
  const response = await call("GET", path, { headers: { accept: "text/event-stream" }, signal });
  if (!response.body) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    rest += value;
    const blocks = rest.split(/\r?\n\r?\n/);
    rest = blocks.pop() ?? "";
    for (const block of blocks) {
      const lines = block.split(/\r?\n/);
      const of = (/** @type {string} */ name) => lines.filter((l) => l.startsWith(`${name}:`)).map((l) => l.slice(name.length + 1).trimStart()).join("\n");
      if (of("data")) yield { event: of("event") || "message", data: JSON.parse(of("data")) };
    }
  }
}

/**
 * The single-use code in the address, if there is one. It is taken out of the address and out of the
 * history's entry before anything else happens.
 * @returns {string | null}
 */
export function takeCode() {
  const code = location.hash.slice(1);
  if (!code.startsWith("cameo_")) return null;
  history.replaceState(null, "", location.pathname + location.search);
  return code;
}

/**
 * Signs in with the address's code, or goes on with the session that is there.
 * @returns {Promise<any>} the session
 */
export async function session() {
  const code = takeCode();
  if (code) return send("POST", "/v1/session", { code });
  return get("/v1/session");
}

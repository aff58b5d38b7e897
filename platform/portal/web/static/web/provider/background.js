// The page's side of worker.js.
//
//     const background = startBackground();
//     const tables = await background.read({ files }, { progress, signal });
//     const { problems, profile, counts, fit } = await background.check({ codebook });
//     const id = await background.upload({ key, deployment, csrf }, { progress, say, signal });

/** Start the worker; `read`, `draft`, `check`, `upload` and `resume` return promises, `stop` ends it and everything it holds. */
export function startBackground(worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" })) {
  const waiting = new Map();
  let calls = 0;

  worker.addEventListener("message", ({ data }) => {
    const one = waiting.get(data.call);
    if (!one) return;
    if (data.progress !== undefined) one.progress(data.progress);
    else if (data.said !== undefined) one.say(data.said);
    else {
      waiting.delete(data.call);
      if (data.error) one.reject(Object.assign(new Error(data.error.message), data.error));
      else one.resolve(data.result);
    }
  });
  worker.addEventListener("error", (event) => {
    for (const { reject } of waiting.values()) reject(new Error(event.message || "the background of this page stopped"));
    waiting.clear();
  });

  const ask = (method) => (args = {}, { progress = () => {}, say = () => {}, signal = undefined } = {}) =>
    new Promise((resolve, reject) => {
      const call = calls++;
      waiting.set(call, { resolve, reject, progress, say });
      signal?.addEventListener("abort", () => worker.postMessage({ cancel: call }));
      worker.postMessage({ call, method, args });
    });

  return {
    read: ask("read"),
    check: ask("check"),
    draft: ask("draft"),
    upload: ask("upload"),
    resume: ask("resume"),
    stop: () => worker.terminate(),
  };
}

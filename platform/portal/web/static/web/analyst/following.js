// Follows a query that waits or runs; when it ends, the page is loaded again with its figures.
import { pause, raw } from "../shared/request.js";

const live = document.getElementById("live");
const lost = document.getElementById("lost");
const SHORTEST = 1000, LONGEST = 5000;
let wait = SHORTEST;
let shown = "";

while (true) {
  await pause(wait);
  if (document.hidden) continue;
  try {
    const answer = await raw(live.dataset.address, { headers: { Accept: "text/html" } });
    if (answer.redirected) throw new Error("Your session has ended. Log in again, then load this page anew.");
    lost.hidden = true;
    const state = answer.headers.get("X-State");
    if (state !== live.dataset.state && ["RELEASED", "REFUSED", "WITHDRAWN", "ABORTED"].includes(state)) {
      location.reload();
      break;
    }
    if (state !== live.dataset.state) wait = SHORTEST;
    live.dataset.state = state;
    const text = await answer.text(); // made and escaped by the portal's own template
    if (text !== shown) live.innerHTML = text;
    shown = text;
  } catch (problem) {
    if (lost.textContent !== problem.message) lost.textContent = problem.message;
    lost.hidden = false;
  }
  wait = Math.min(LONGEST, wait * 1.25);
}

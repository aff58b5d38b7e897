// On the history page: uploads that this browser still holds sealed.

import { openStore } from "../storage.js";
import { unfinished } from "../upload.js";
import { byId, make, notice } from "./element.js";

const place = byId("unfinished");
const waiting = await unfinished(openStore());
if (waiting.length) {
  const names = waiting.map(({ title }) => title).join(", ");
  place.replaceChildren(
    notice("warning", `Not finished in this browser: ${names}. Nothing that was sent is lost. `, make("a", { href: "/data/new/", text: "Go on" })),
  );
  place.hidden = false;
}

// The keys that an upload needs: the parties', pinned and compared by eye, and the provider's own.

import { fingerprint, fingerprints, generateKey, importKey, KeysRefused, loadKey, pins, storeKey } from "../keys.js";
import { request } from "../../shared/request.js";
import { save } from "./editor.js";
import { byId, grouped, make, notice, table } from "./element.js";

/** Keys as they stand; `changed` is called after each step. `ready` says whether both are there and confirmed. */
export class Keyring {
  constructor(store, changed) {
    Object.assign(this, { store, changed, deployment: null, compared: false, key: null });
  }

  get ready() {
    return this.deployment !== null && this.compared && this.key !== null;
  }

  async open() {
    await this.openOwn();
    await this.openParties();
  }

  // -- the parties' ------------------------------------------------------------------------------------------

  async openParties() {
    const place = byId("party-keys");
    place.replaceChildren(make("p", { text: "Asking for the keys of the parties." }));
    try {
      const { deployment, first } = await pins.check(location.origin, await request("/api/parties/"), this.store);
      this.deployment = deployment;
      this.compared = !first && (await this.store.get("pins", `${location.origin} compared`)) === true;
      this.showParties();
    } catch (wrong) {
      this.deployment = null;
      if (wrong instanceof KeysRefused && wrong.changes.length) this.showChanged(wrong);
      else place.replaceChildren(notice("error", `The keys of the parties cannot be used: ${wrong.message}`),
        make("button", { type: "button", text: "Try again", onclick: () => this.openParties() }));
    }
    this.changed();
  }

  showParties() {
    const rows = fingerprints(this.deployment).map(([name, digits]) => [name, make("code", { text: grouped(digits) })]);
    const box = make("input", { type: "checkbox", checked: this.compared, onchange: async () => {
      this.compared = box.checked;
      await this.store.put("pins", `${location.origin} compared`, box.checked);
      this.changed();
    } });
    byId("party-keys").replaceChildren(
      make("p", { class: "small", text: "Whoever holds the private keys of these reads what is sealed to them. They are pinned in this browser: others are refused later." }),
      table("Fingerprints", ["Whose", "Fingerprint"], rows),
      make("label", { class: "check" }, box, make("span", { text: "I compared these fingerprints with what the parties told me elsewhere, such as by telephone" })),
    );
  }

  showChanged(wrong) {
    const rows = wrong.changes.map(({ name, was, is }) => [name, make("code", { text: grouped(was) }), make("code", { text: grouped(is) })]);
    const file = make("input", { type: "file", id: "parties-file", accept: ".json" });
    file.addEventListener("change", async () => {
      try {
        const { deployment } = await pins.trust(location.origin, JSON.parse(await file.files[0].text()), this.store);
        this.deployment = deployment;
        await this.openParties();
      } catch (bad) {
        byId("party-keys").append(notice("error", `This file is not used: ${bad.message}`));
      }
    });
    byId("party-keys").replaceChildren(
      notice("error", "The portal now shows other keys than those that were pinned here. Nothing is sealed to them. Ask the parties by another way than this portal."),
      table("Keys that changed", ["Whose", "Pinned", "Shown now"], rows),
      make("div", { class: "field" }, make("label", { for: "parties-file", text: "New keys, from a file that the parties gave you" }), file),
    );
  }

  // -- the provider's own ------------------------------------------------------------------------------------

  async openOwn() {
    this.key = await loadKey(this.store);
    if (this.key) await this.showOwn();
    else this.offer();
    this.changed();
  }

  async showOwn() {
    byId("own-key").replaceChildren(
      make("p", {}, "Kept in this browser, where it signs and cannot be read out: ", make("code", { text: grouped(await fingerprint(this.key.publicKey)) })),
      make("details", {}, make("summary", { text: "Use another key" }), ...this.choices()),
    );
  }

  offer() {
    byId("own-key").replaceChildren(
      make("p", { text: "It signs the manifest, and every later version of the table needs it. Make one, or take the one that you use on the command line." }),
      ...this.choices(),
    );
  }

  choices() {
    const file = make("input", { type: "file", class: "unseen", id: "key-file", accept: ".pem" });
    file.addEventListener("change", async () => {
      try {
        await this.use(await importKey(await file.files[0].text()));
      } catch (wrong) {
        byId("key-said").replaceChildren(notice("error", `This key is not used: ${wrong.message}.`));
      }
    });
    return [
      make("p", { class: "row" },
        make("button", { type: "button", text: "Make a new key", onclick: () => this.generate() }),
        make("label", { class: "button", for: "key-file", text: "Import a key (PEM)" }), file),
      make("div", { id: "key-said", "aria-live": "assertive" }),
    ];
  }

  async use(key) {
    this.key = key;
    await storeKey(key, this.store);
    await this.showOwn();
    this.changed();
  }

  async generate() {
    let made;
    try {
      made = await generateKey();
    } catch (wrong) {
      byId("key-said").replaceChildren(notice("error", wrong.message));
      return;
    }
    const kept = make("button", { type: "button", text: "I have kept it", disabled: true, onclick: () => this.use(made.key) });
    byId("own-key").replaceChildren(
      notice("warning", "Keep this copy in a safe place: it is shown once. Without it no new version can follow after this browser forgets the key."),
      make("textarea", { class: "pem", readOnly: true, "aria-label": "Your private key", value: made.pem, rows: 3 }),
      make("p", { class: "row" }, make("button", { type: "button", text: "Save as a file", onclick: () => { save("key.pem", made.pem); kept.disabled = false; } }), kept),
    );
  }
}

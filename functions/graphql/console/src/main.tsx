import "./styles/base.css";
import "./styles/shell.css";
import "./styles/parts.css";
import "./styles/pages.css";

import { createRoot } from "react-dom/client";

import type { Failure } from "./api/failure.ts";
import { App } from "./app.tsx";
import { Languages } from "./i18n/index.tsx";
import { loadConfig } from "./session/config.ts";
import { session } from "./session/session.ts";
import { keepFocus } from "./shell/keep-focus.ts";
import { applyTheme } from "./shell/theme.ts";
import { Failed } from "./ui/answer.tsx";

applyTheme();
keepFocus();

/** Say in the viewer's language why the console has not started. */
const NotStarted = ({ failure }: { failure: Failure }) => (
  <Languages>
    <main>
      <Failed failure={failure} again={() => location.reload()} />
    </main>
  </Languages>
);

/** `fetch` throws a TypeError when there is no answer. */
const failureOf = (reason: unknown): Failure => ({
  code: reason instanceof TypeError ? "NETWORK" : "UNKNOWN",
  message: reason instanceof Error ? reason.message : String(reason),
});

const element = document.getElementById("console");
if (element) {
  const root = createRoot(element);
  try {
    await session.start(await loadConfig());
    root.render(<App />);
  } catch (reason) {
    root.render(<NotStarted failure={failureOf(reason)} />);
  }
}

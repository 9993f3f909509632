import "./styles/base.css";
import "./styles/shell.css";
import "./styles/parts.css";
import "./styles/pages.css";

import { createRoot } from "react-dom/client";

import { App } from "./app.tsx";
import { loadConfig } from "./session/config.ts";
import { session } from "./session/session.ts";
import { keepFocus } from "./shell/keep-focus.ts";
import { applyTheme } from "./shell/theme.ts";

applyTheme();
keepFocus();

const root = document.getElementById("console");
if (root) {
  const config = await loadConfig();
  await session.start(config);
  createRoot(root).render(<App />);
}

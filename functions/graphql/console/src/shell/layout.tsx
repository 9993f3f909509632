import { type ReactNode, useEffect, useState } from "react";
import { Link, useLocation } from "wouter";

import { useT } from "../i18n/index.tsx";
import { session } from "../session/session.ts";
import { Button } from "../ui/button.tsx";
import { isAt, nameAt, pagesOf } from "./pages.ts";
import { Palette } from "./palette.tsx";
import { Person } from "./person.tsx";
import { Preferences } from "./preferences.tsx";
import { SignIn } from "./sign-in.tsx";

export const Layout = ({ children }: { children: ReactNode }) => {
  const t = useT();
  const [location] = useLocation();
  const [menu, setMenu] = useState(false);
  const [finding, setFinding] = useState(false);

  useEffect(() => {
    document.title = `${t(nameAt(location) ?? "nopage.title")} · ${t("app.name")}`;
  }, [location, t]);
  useEffect(() => {
    setMenu(false);
    globalThis.scrollTo(0, 0);
  }, [location]);
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
        event.preventDefault();
        setFinding(true);
      }
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, []);

  return (
    <>
      <a className="skip" href="#main">
        {t("app.skip")}
      </a>
      <header className="top">
        <button
          type="button"
          className="menu button plain"
          aria-label={t("app.menu")}
          aria-expanded={menu}
          aria-controls="navigation"
          onClick={() => setMenu(!menu)}
        >
          <span aria-hidden="true">☰</span> <span className="menu-word">{t("app.menu")}</span>
        </button>
        <Link href="/" className="brand">
          {t("app.name")}
        </Link>
        <span className={`environment ${session.where.environment.toLowerCase()}`} title={t("app.environment")}>
          {session.where.environment}
        </span>
        <button type="button" className="find" onClick={() => setFinding(true)}>
          <span className="find-word">{t("palette.find")}</span> <kbd>Ctrl K</kbd>
        </button>
        <Person />
        <Preferences />
      </header>
      <nav id="navigation" aria-label={t("app.pages")} className={menu ? "open" : undefined}>
        <ul>
          {pagesOf(session.where).map(({ path, name }) => (
            <li key={path}>
              <Link href={path} aria-current={isAt(location, path) ? "page" : undefined}>
                {t(name)}
              </Link>
            </li>
          ))}
          <li>
            <a href="/graphql">GraphiQL</a>
          </li>
        </ul>
      </nav>
      <main id="main" tabIndex={-1}>
        {children}
      </main>
      <Palette open={finding} onClose={() => setFinding(false)} />
      <SignIn />
    </>
  );
};

export const Close = ({ onClose }: { onClose: () => void }) => {
  const t = useT();
  return <Button onClick={onClose}>{t("act.close")}</Button>;
};

import { Component, type ReactNode } from "react";
import { useLocation } from "wouter";

import { useT } from "../i18n/index.tsx";
import { Button } from "../ui/button.tsx";

const Broken = ({ message }: { message: string }) => {
  const t = useT();
  return (
    <div className="failed" role="alert">
      <p>
        <strong>{t("broken.title")}</strong> {message}
      </p>
      <Button onClick={() => globalThis.location.reload()}>{t("broken.reload")}</Button>
    </div>
  );
};

class Catching extends Component<{ children: ReactNode; path: string }, { message?: string }> {
  override state: { message?: string } = {};

  static getDerivedStateFromError(error: unknown) {
    return { message: error instanceof Error ? error.message : String(error) };
  }

  override componentDidUpdate(before: { path: string }) {
    if (before.path !== this.props.path && this.state.message !== undefined) this.setState({ message: undefined });
  }

  override render() {
    return this.state.message === undefined ? this.props.children : <Broken message={this.state.message} />;
  }
}

/** Show a page's error in its place; the navigation keeps working. */
export const Boundary = ({ children }: { children: ReactNode }) => {
  const [path] = useLocation();
  return <Catching path={path}>{children}</Catching>;
};

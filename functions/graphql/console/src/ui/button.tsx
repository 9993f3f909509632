import { type ReactNode, useId } from "react";

type Props = {
  children: ReactNode;
  onClick?: () => void;
  kind?: "plain" | "main" | "danger";
  type?: "button" | "submit";
  /** Why the button does nothing now. It stays in the tab order, so that everybody can learn the reason. */
  refused?: string;
  pressed?: boolean;
  label?: string;
  busy?: boolean;
};

export const Button = ({ children, onClick, kind = "plain", type = "button", refused, pressed, label, busy }: Props) => {
  const id = useId();
  return (
    <span className="button-place">
      <button
        type={type}
        className={`button ${kind}`}
        aria-disabled={refused !== undefined || busy === true || undefined}
        aria-describedby={refused === undefined ? undefined : id}
        aria-pressed={pressed}
        aria-label={label}
        title={refused}
        onClick={(event) => {
          if (refused !== undefined || busy) event.preventDefault();
          else onClick?.();
        }}
      >
        {children}
      </button>
      {refused !== undefined && (
        <small id={id} className="refused">
          {refused}
        </small>
      )}
    </span>
  );
};

/** Show JSON as indented text. */
export const Json = ({ value }: { value: unknown }) => (
  <pre className="json" tabIndex={0}>
    {JSON.stringify(value, null, 2)}
  </pre>
);

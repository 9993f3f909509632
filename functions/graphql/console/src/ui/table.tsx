import type { ReactNode } from "react";

export type Column<Row> = { name: string; cell: (row: Row) => ReactNode; number?: boolean };

type Props<Row> = { rows: readonly Row[]; columns: readonly Column<Row>[]; keyOf: (row: Row) => string; caption: string };

/**
 * A table; on a phone each row is a card with its columns' names, and on a narrow screen it scrolls sideways. The roles
 * are said, because a browser may take a card for no row.
 */
export const Table = <Row,>({ rows, columns, keyOf, caption }: Props<Row>) => (
  <div className="table-place" role="region" aria-label={caption} tabIndex={0}>
    <table role="table">
      <thead role="rowgroup">
        <tr role="row">
          {columns.map(({ name, number }) => (
            <th key={name} role="columnheader" scope="col" className={number ? "number" : undefined}>
              {name}
            </th>
          ))}
        </tr>
      </thead>
      <tbody role="rowgroup">
        {rows.map((row) => (
          <tr key={keyOf(row)} role="row">
            {columns.map(({ name, number, cell }) => (
              <td key={name} role="cell" data-column={name} className={number ? "number" : undefined}>
                {cell(row)}
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  </div>
);

-- A shop: what `walgate demo` loads, watches and compares.
CREATE TABLE customers (
    id integer PRIMARY KEY,
    email text NOT NULL,
    name text NOT NULL,
    city text,
    revision integer NOT NULL DEFAULT 1
);

CREATE TABLE orders (
    id integer PRIMARY KEY,
    customer_id integer NOT NULL,
    status text NOT NULL DEFAULT 'new',
    total numeric(10, 2) NOT NULL DEFAULT 0,
    is_gift boolean NOT NULL DEFAULT false,
    placed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE order_items (
    order_id integer,
    line integer,
    product text NOT NULL,
    quantity integer NOT NULL,
    PRIMARY KEY (order_id, line)
);

CREATE ROLE walgate LOGIN REPLICATION;
GRANT SELECT ON customers, orders, order_items TO walgate;
CREATE PUBLICATION walgate FOR TABLE customers, orders, order_items;

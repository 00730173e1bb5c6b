-- The sample database of the demo and of the end-to-end tests: a small shop.
--
--   catalog:  categories ◀── products ◀───────────┐
--   sales:    customers ◀── orders ◀── order_items ┘      views: product_prices, order_totals
--
-- Run by psql as the superuser; SHOP_PASSWORD in the environment is the password of the role
-- `ingest`. Running it again starts the database afresh.

\set ON_ERROR_STOP on
\getenv password SHOP_PASSWORD

DROP DATABASE IF EXISTS shop WITH (FORCE);
CREATE DATABASE shop;

SELECT 'CREATE ROLE ingest LOGIN'
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'ingest') \gexec
ALTER ROLE ingest PASSWORD :'password';

\connect shop

COMMENT ON DATABASE shop IS 'Sample shop: what is sold, and to whom';

CREATE SCHEMA catalog;
COMMENT ON SCHEMA catalog IS 'What the shop sells';

CREATE TABLE catalog.categories (
    category_id integer PRIMARY KEY,
    name text NOT NULL UNIQUE,
    parent_id integer REFERENCES catalog.categories
);
COMMENT ON TABLE catalog.categories IS 'Shelves of the shop, nested';
COMMENT ON COLUMN catalog.categories.parent_id IS 'The shelf that this one belongs to; null at the top';

CREATE TABLE catalog.products (
    product_id integer PRIMARY KEY,
    category_id integer NOT NULL REFERENCES catalog.categories,
    name text NOT NULL,
    price numeric(10, 2) NOT NULL CHECK (price >= 0),
    attributes jsonb NOT NULL DEFAULT '{}',
    discontinued_on date
);
COMMENT ON TABLE catalog.products IS 'Everything that can be ordered, or could once';
COMMENT ON COLUMN catalog.products.price IS 'Today''s price in euros; orders keep the price of their day';

CREATE VIEW catalog.product_prices AS
SELECT p.product_id, p.name, c.name AS category, p.price
FROM catalog.products AS p
JOIN catalog.categories AS c USING (category_id)
WHERE p.discontinued_on IS NULL;
COMMENT ON VIEW catalog.product_prices IS 'The price list as customers see it';

CREATE SCHEMA sales;
COMMENT ON SCHEMA sales IS 'Who bought what';

CREATE TABLE sales.customers (
    customer_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email text NOT NULL UNIQUE,
    full_name text NOT NULL,
    joined_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE sales.customers IS 'People who have ordered at least once';
COMMENT ON COLUMN sales.customers.email IS 'Login name; unique';

CREATE TABLE sales.orders (
    order_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id bigint NOT NULL REFERENCES sales.customers,
    status text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'paid', 'shipped', 'returned')),
    ordered_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE sales.orders IS 'One row for each time a customer pressed "buy"';

CREATE TABLE sales.order_items (
    order_id bigint NOT NULL REFERENCES sales.orders ON DELETE CASCADE,
    position smallint NOT NULL,
    product_id integer NOT NULL REFERENCES catalog.products,
    quantity integer NOT NULL CHECK (quantity > 0),
    unit_price numeric(10, 2) NOT NULL,
    PRIMARY KEY (order_id, position)
);
COMMENT ON TABLE sales.order_items IS 'What an order consists of';

CREATE VIEW sales.order_totals AS
SELECT o.order_id, c.full_name AS customer, o.status, sum(i.quantity * i.unit_price) AS total
FROM sales.orders AS o
JOIN sales.customers AS c USING (customer_id)
JOIN sales.order_items AS i USING (order_id)
GROUP BY o.order_id, c.full_name, o.status;
COMMENT ON VIEW sales.order_totals IS 'What each order is worth';

INSERT INTO catalog.categories VALUES (1, 'Kitchen', NULL), (2, 'Knives', 1), (3, 'Books', NULL);
INSERT INTO catalog.products (product_id, category_id, name, price, attributes, discontinued_on) VALUES
    (1, 2, 'Bread knife', 24.50, '{"blade_cm": 21}', NULL),
    (2, 2, 'Oyster knife', 18.00, '{"blade_cm": 7}', '2026-01-31'),
    (3, 1, 'Colander', 15.90, '{}', NULL),
    (4, 3, 'Soups of the North', 32.00, '{"pages": 208}', NULL);
INSERT INTO sales.customers (email, full_name) VALUES
    ('ada@example.org', 'Ada Larsen'), ('bo@example.org', 'Bo Okafor');
INSERT INTO sales.orders (customer_id, status) VALUES (1, 'shipped'), (1, 'open'), (2, 'paid');
INSERT INTO sales.order_items VALUES
    (1, 1, 1, 1, 24.50), (1, 2, 4, 2, 30.00), (2, 1, 3, 1, 15.90), (3, 1, 2, 1, 18.00);

GRANT USAGE ON SCHEMA catalog, sales TO ingest;
GRANT SELECT ON ALL TABLES IN SCHEMA catalog, sales TO ingest;

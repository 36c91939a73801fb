//! [`Table`]: what the server says of a table that is written to.

use std::collections::HashMap;

use super::failure::Error;
use super::name::Name;
use super::session::Session;
use super::text::Shape;

/// A table as it is at the far side.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: Name,
    pub(super) columns: HashMap<String, Column>,
}

/// One of its columns.
#[derive(Clone, Debug)]
pub(super) struct Column {
    /// What text is cast to: the type without its modifier, since a cast would cut to a length
    /// where storing refuses.
    pub(super) cast: String,
    /// The type with its modifier.
    pub(super) type_name: String,
    /// How its text is made.
    pub(super) shape: Shape,
    /// The server computes it.
    pub(super) is_generated: bool,
}

/// Types may hold each other; deeper is text.
const DEPTH_MAX: u8 = 16;

const COLUMNS: &str = "
    SELECT a.attname::text, a.atttypid::int8,
           -- a cast to a domain would cut to its length too
           format_type(CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END, -1),
           format_type(a.atttypid, a.atttypmod), a.attgenerated <> ''
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
    WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped";

/// The types of the columns, and the types that these are made of.
const TYPES: &str = "
    WITH RECURSIVE need(oid) AS (
        SELECT a.atttypid FROM pg_attribute a
        WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped
      UNION
        SELECT inner_type.oid FROM need
        JOIN pg_type t ON t.oid = need.oid
        CROSS JOIN LATERAL (
            SELECT t.typelem WHERE t.typcategory = 'A'
            UNION ALL SELECT t.typbasetype WHERE t.typtype = 'd'
            UNION ALL SELECT a.atttypid FROM pg_attribute a
                WHERE t.typtype = 'c' AND a.attrelid = t.typrelid
                  AND a.attnum > 0 AND NOT a.attisdropped
        ) AS inner_type(oid)
        WHERE inner_type.oid <> 0
    )
    SELECT t.oid::int8, t.typname::text, t.typtype::text, t.typcategory::text,
           t.typelem::int8, t.typbasetype::int8,
           coalesce((SELECT e.typdelim::text FROM pg_type e WHERE e.oid = t.typelem), ','),
           ARRAY(SELECT a.attname::text FROM pg_attribute a
                 WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0
                   AND NOT a.attisdropped ORDER BY a.attnum),
           ARRAY(SELECT a.atttypid::int8 FROM pg_attribute a
                 WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0
                   AND NOT a.attisdropped ORDER BY a.attnum)
    FROM need JOIN pg_type t ON t.oid = need.oid";

/// A type as the catalogue has it.
struct Type {
    name: String,
    /// `typtype`
    kind: String,
    /// `typcategory`
    category: String,
    element: i64,
    base: i64,
    delimiter: String,
    fields: Vec<(String, i64)>,
}

impl Table {
    /// Reads a table; none where there is none.
    pub(super) async fn read(
        session: &mut Session<'_>,
        name: &Name,
    ) -> Result<Option<Self>, Error> {
        let quoted = name.to_string();
        let rows = session.query(COLUMNS, &[&quoted]).await?;
        if rows.is_empty() {
            let there = session.query("SELECT to_regclass($1) IS NOT NULL", &[&quoted]).await?;
            let is_there = there.first().map(|row| row.try_get(0)).transpose()?;
            if is_there != Some(true) {
                return Ok(None);
            }
        }
        let mut types = HashMap::new();
        for row in session.query(TYPES, &[&quoted]).await? {
            let (names, oids): (Vec<String>, Vec<i64>) = (row.try_get(7)?, row.try_get(8)?);
            let found = Type {
                name: row.try_get(1)?,
                kind: row.try_get(2)?,
                category: row.try_get(3)?,
                element: row.try_get(4)?,
                base: row.try_get(5)?,
                delimiter: row.try_get(6)?,
                fields: names.into_iter().zip(oids).collect(),
            };
            types.insert(row.try_get::<_, i64>(0)?, found);
        }
        let mut columns = HashMap::new();
        for row in rows {
            let column = Column {
                cast: row.try_get(2)?,
                type_name: row.try_get(3)?,
                shape: shape(&types, row.try_get(1)?, 0),
                is_generated: row.try_get(4)?,
            };
            columns.insert(row.try_get(0)?, column);
        }
        Ok(Some(Self { name: name.clone(), columns }))
    }
}

/// json and jsonb; bytea. Their oids are the same on every server.
const JSON: [i64; 2] = [114, 3802];
const BYTEA: i64 = 17;

fn shape(types: &HashMap<i64, Type>, oid: i64, depth: u8) -> Shape {
    let Some(found) = types.get(&oid).filter(|_| depth < DEPTH_MAX) else { return Shape::Plain };
    let inner = |oid: i64| shape(types, oid, depth.saturating_add(1));
    match (found.kind.as_str(), found.category.as_str()) {
        _ if JSON.contains(&oid) => Shape::Json,
        _ if oid == BYTEA => Shape::Bytea,
        ("d", _) => inner(found.base),
        ("c", _) => {
            let fields = found.fields.iter().map(|(name, oid)| (name.clone(), inner(*oid)));
            Shape::Composite(fields.collect())
        }
        (_, "A") if found.element != 0 => Shape::Array {
            element: Box::new(inner(found.element)),
            delimiter: found.delimiter.chars().next().unwrap_or(','),
        },
        ("b", _) if found.name == "hstore" => Shape::Hstore,
        _ => Shape::Plain,
    }
}

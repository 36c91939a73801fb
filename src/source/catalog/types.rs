//! How a type's text is read, by its oid: built-in ones are known, others are looked up.

use std::collections::HashMap;

use tokio_postgres::types::{Kind as PostgresKind, Type};

use crate::lsn::Oid;
use crate::relation::Kind;

/// A type as the catalog describes it.
#[derive(Clone, Debug, Default)]
pub(super) struct Description {
    pub(super) name: String,
    /// Of a domain.
    pub(super) base: Option<Oid>,
    /// Of an array.
    pub(super) element: Option<Oid>,
    /// Between two values of this type in an array.
    pub(super) delimiter: u8,
    /// Of a composite; none of anything else.
    pub(super) fields: Option<Vec<(String, Oid)>>,
}

/// Types nest; one that contains itself cannot be made, so this is no limit but a guard.
const DEPTH_MAX: usize = 32;

/// Returns the kind of a built-in type without asking anybody.
pub(super) fn built_in(oid: Oid) -> Option<Kind> {
    match oid.0 {
        // int2vector and oidvector: arrays by catalog, blank-parted text by output.
        22 | 30 => return Some(Kind::Text),
        _ => {}
    }
    let known = Type::from_oid(oid.0)?;
    Some(match known.kind() {
        PostgresKind::Array(element) => Kind::Array {
            element: Box::new(scalar(element)),
            delimiter: if *element == Type::BOX { b';' } else { b',' },
        },
        _ => scalar(&known),
    })
}

fn scalar(known: &Type) -> Kind {
    match *known {
        Type::INT2 | Type::INT4 | Type::INT8 | Type::OID => Kind::Integer,
        Type::NUMERIC => Kind::Numeric,
        Type::FLOAT4 | Type::FLOAT8 => Kind::Float,
        Type::BOOL => Kind::Boolean,
        Type::DATE => Kind::Date,
        Type::TIMESTAMP => Kind::Timestamp,
        Type::TIMESTAMPTZ => Kind::TimestampTz,
        Type::JSON | Type::JSONB => Kind::Json,
        Type::BYTEA => Kind::Bytea,
        _ => Kind::Text,
    }
}

/// Returns the kind of any type, text for those that are in neither place.
pub(super) fn kind(oid: Oid, described: &HashMap<Oid, Description>) -> Kind {
    resolve(oid, described, DEPTH_MAX)
}

fn resolve(oid: Oid, described: &HashMap<Oid, Description>, depth: usize) -> Kind {
    if let Some(kind) = built_in(oid) {
        return kind;
    }
    let Some((description, depth)) = described.get(&oid).zip(depth.checked_sub(1)) else {
        return Kind::Text;
    };
    if let Some(base) = description.base {
        return resolve(base, described, depth);
    }
    if let Some(element) = description.element {
        let known = described.get(&element).map(|element| element.delimiter);
        let delimiter = known.unwrap_or(if element.0 == Type::BOX.oid() { b';' } else { b',' });
        let element = Box::new(resolve(element, described, depth));
        return Kind::Array { element, delimiter };
    }
    match &description.fields {
        Some(fields) => Kind::Composite {
            fields: fields
                .iter()
                .map(|(name, oid)| (name.clone(), resolve(*oid, described, depth)))
                .collect(),
        },
        None if description.name == "hstore" => Kind::Hstore,
        None => Kind::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_types_are_known_without_a_question() {
        let array = |element| Some(Kind::Array { element: Box::new(element), delimiter: b',' });
        for (oid, kind) in [
            (23, Some(Kind::Integer)),
            (1700, Some(Kind::Numeric)),
            (25, Some(Kind::Text)),
            (22, Some(Kind::Text)),
            (1007, array(Kind::Integer)),
            (1185, array(Kind::TimestampTz)),
            (3807, array(Kind::Json)),
            (1020, Some(Kind::Array { element: Box::new(Kind::Text), delimiter: b';' })),
            (99_999, None),
        ] {
            assert_eq!(built_in(Oid(oid)), kind, "{oid}");
        }
    }

    #[test]
    fn made_up_types_are_taken_apart_and_unknown_ones_are_text() {
        let mut described = HashMap::new();
        let own = |base: Option<u32>, element: Option<u32>| Description {
            base: base.map(Oid),
            element: element.map(Oid),
            delimiter: b',',
            ..Description::default()
        };
        described.insert(Oid(100_001), own(Some(23), None));
        described.insert(Oid(100_002), own(None, Some(100_001)));
        let fields = Some(vec![("a".to_owned(), Oid(100_002)), ("b".to_owned(), Oid(77_777))]);
        described.insert(Oid(100_003), Description { fields, ..Description::default() });
        let name = "hstore".to_owned();
        described.insert(Oid(100_004), Description { name, ..Description::default() });
        assert_eq!(kind(Oid(100_001), &described), Kind::Integer);
        let array = Kind::Array { element: Box::new(Kind::Integer), delimiter: b',' };
        let fields = vec![("a".to_owned(), array), ("b".to_owned(), Kind::Text)];
        assert_eq!(kind(Oid(100_003), &described), Kind::Composite { fields });
        assert_eq!(kind(Oid(100_004), &described), Kind::Hstore);
    }
}

//! [`Form`]: how the values of a type are sent in binary.

use std::sync::Arc;

use crate::lsn::Oid;

/// How the values of a type are sent in binary, and what their text looks like. A domain has the
/// form of its base type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// The text itself: text, varchar, char(n), name, json, xml, citext, enums.
    Text,
    /// A version byte before the text: jsonb, jsonpath, ltree, lquery, ltxtquery.
    Versioned,
    /// bytea.
    Bytea,
    /// `"char"`.
    Char,
    /// boolean.
    Bool,
    /// smallint.
    Int2,
    /// integer.
    Int4,
    /// bigint.
    Int8,
    /// oid, xid, cid.
    Unsigned4,
    /// xid8.
    Unsigned8,
    /// `pg_lsn`.
    Lsn,
    /// money, where `lc_monetary` prints it as C does.
    Money,
    /// numeric.
    Numeric,
    /// `pg_snapshot`, `txid_snapshot`.
    Snapshot,
    /// tid.
    Tid,
    /// bit, varbit.
    Bits,
    /// real.
    Float4,
    /// double precision.
    Float8,
    /// uuid.
    Uuid,
    /// macaddr.
    MacAddr,
    /// macaddr8.
    MacAddr8,
    /// inet, cidr.
    Inet,
    /// date.
    Date,
    /// time.
    Time,
    /// time with time zone.
    TimeTz,
    /// timestamp.
    Timestamp,
    /// timestamp with time zone.
    TimestampTz,
    /// interval.
    Interval,
    /// The geometric types.
    Shape(Shape),
    /// tsvector.
    TsVector,
    /// tsquery.
    TsQuery,
    /// hstore.
    Hstore,
    /// int2vector, oidvector: an array whose text has blanks and no braces.
    Vector,
    /// An array.
    Array {
        /// The form of the elements.
        element: Box<Self>,
        /// The byte between two elements.
        delimiter: u8,
    },
    /// A composite type. Its values name the types of their fields.
    Record {
        /// The fields' types. One of the server's own that is not among them is known all the same.
        fields: Vec<(Oid, Self)>,
    },
    /// A range.
    Range {
        /// The form of its bounds.
        bound: Box<Self>,
    },
    /// A multirange.
    Multirange {
        /// The form of the ranges' bounds.
        bound: Box<Self>,
    },
    /// Nobody knows; the type's name.
    Unknown(Arc<str>),
}

/// A geometric type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// point.
    Point,
    /// line.
    Line,
    /// lseg.
    Segment,
    /// box.
    Box,
    /// path.
    Path,
    /// polygon.
    Polygon,
    /// circle.
    Circle,
}

impl Form {
    /// Returns the form that a type's send function makes; none for one that is not known, and for
    /// those that need to know more of their type (arrays, composites, ranges).
    #[must_use]
    pub fn of_send(function: &str) -> Option<Self> {
        Some(match function {
            "textsend" | "varcharsend" | "bpcharsend" | "namesend" | "json_send" | "xml_send"
            | "enum_send" | "unknownsend" | "citextsend" | "cstring_send" => Self::Text,
            "jsonb_send" | "jsonpath_send" | "ltree_send" | "lquery_send" | "ltxtq_send" => {
                Self::Versioned
            }
            "byteasend" => Self::Bytea,
            "charsend" => Self::Char,
            "boolsend" => Self::Bool,
            "int2send" => Self::Int2,
            "int4send" => Self::Int4,
            "int8send" => Self::Int8,
            "oidsend" | "xidsend" | "cidsend" => Self::Unsigned4,
            "xid8send" => Self::Unsigned8,
            "pg_lsn_send" => Self::Lsn,
            "cash_send" => Self::Money,
            "numeric_send" => Self::Numeric,
            "pg_snapshot_send" | "txid_snapshot_send" => Self::Snapshot,
            "tidsend" => Self::Tid,
            "bit_send" | "varbit_send" => Self::Bits,
            "float4send" => Self::Float4,
            "float8send" => Self::Float8,
            "uuid_send" => Self::Uuid,
            "macaddr_send" => Self::MacAddr,
            "macaddr8_send" => Self::MacAddr8,
            "inet_send" | "cidr_send" => Self::Inet,
            "date_send" => Self::Date,
            "time_send" => Self::Time,
            "timetz_send" => Self::TimeTz,
            "timestamp_send" => Self::Timestamp,
            "timestamptz_send" => Self::TimestampTz,
            "interval_send" => Self::Interval,
            "point_send" => Self::Shape(Shape::Point),
            "line_send" => Self::Shape(Shape::Line),
            "lseg_send" => Self::Shape(Shape::Segment),
            "box_send" => Self::Shape(Shape::Box),
            "path_send" => Self::Shape(Shape::Path),
            "poly_send" => Self::Shape(Shape::Polygon),
            "circle_send" => Self::Shape(Shape::Circle),
            "tsvectorsend" => Self::TsVector,
            "tsquerysend" => Self::TsQuery,
            "hstore_send" => Self::Hstore,
            "int2vectorsend" | "oidvectorsend" => Self::Vector,
            _ => return None,
        })
    }

    /// Returns the first type in it whose form nobody knows.
    #[must_use]
    pub fn unknown(&self) -> Option<&str> {
        match self {
            Self::Unknown(name) => Some(name),
            Self::Array { element, .. } => element.unknown(),
            Self::Range { bound } | Self::Multirange { bound } => bound.unknown(),
            Self::Record { fields } => fields.iter().find_map(|(_, form)| form.unknown()),
            _ => None,
        }
    }
}

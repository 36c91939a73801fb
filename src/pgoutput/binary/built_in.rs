//! The built-in types by oid: known without asking anybody, and whatever has become of a table.
//!
//! Source: `src/include/catalog/pg_type.dat`; these oids never change.

use super::form::{Form, Shape};
use crate::lsn::Oid;

/// Oid, oid of the array (0: none), send function of the type.
const SCALARS: &[(u32, u32, &str)] = &[
    (16, 1000, "boolsend"),
    (17, 1001, "byteasend"),
    (18, 1002, "charsend"),
    (19, 1003, "namesend"),
    (20, 1016, "int8send"),
    (21, 1005, "int2send"),
    (22, 1006, "int2vectorsend"),
    (23, 1007, "int4send"),
    (25, 1009, "textsend"),
    (26, 1028, "oidsend"),
    (27, 1010, "tidsend"),
    (28, 1011, "xidsend"),
    (29, 1012, "cidsend"),
    (30, 1013, "oidvectorsend"),
    (114, 199, "json_send"),
    (142, 143, "xml_send"),
    (600, 1017, "point_send"),
    (601, 1018, "lseg_send"),
    (602, 1019, "path_send"),
    (604, 1027, "poly_send"),
    (628, 629, "line_send"),
    (650, 651, "cidr_send"),
    (700, 1021, "float4send"),
    (701, 1022, "float8send"),
    (718, 719, "circle_send"),
    (774, 775, "macaddr8_send"),
    (790, 791, "cash_send"),
    (829, 1040, "macaddr_send"),
    (869, 1041, "inet_send"),
    (1042, 1014, "bpcharsend"),
    (1043, 1015, "varcharsend"),
    (1082, 1182, "date_send"),
    (1083, 1183, "time_send"),
    (1114, 1115, "timestamp_send"),
    (1184, 1185, "timestamptz_send"),
    (1186, 1187, "interval_send"),
    (1266, 1270, "timetz_send"),
    (1560, 1561, "bit_send"),
    (1562, 1563, "varbit_send"),
    (1700, 1231, "numeric_send"),
    (1790, 2201, "textsend"),
    (2950, 2951, "uuid_send"),
    (2970, 2949, "txid_snapshot_send"),
    (3220, 3221, "pg_lsn_send"),
    (3614, 3643, "tsvectorsend"),
    (3615, 3645, "tsquerysend"),
    (3802, 3807, "jsonb_send"),
    (4072, 4073, "jsonpath_send"),
    (5038, 5039, "pg_snapshot_send"),
    (5069, 271, "xid8send"),
];

/// Oid of the range, of its array, of the multirange, of its array, send function of the bounds.
const RANGES: &[(u32, u32, u32, u32, &str)] = &[
    (3904, 3905, 4451, 6150, "int4send"),
    (3906, 3907, 4532, 6151, "numeric_send"),
    (3908, 3909, 4533, 6152, "timestamp_send"),
    (3910, 3911, 4534, 6153, "timestamptz_send"),
    (3912, 3913, 4535, 6155, "date_send"),
    (3926, 3927, 4536, 6157, "int8send"),
];

/// Returns the form of a built-in type.
#[must_use]
pub fn built_in(oid: Oid) -> Option<Form> {
    let oid = oid.0;
    let comma = |element: Form| Form::Array { element: Box::new(element), delimiter: b',' };
    match oid {
        603 => return Some(Form::Shape(Shape::Box)),
        1020 => {
            let element = Box::new(Form::Shape(Shape::Box));
            return Some(Form::Array { element, delimiter: b';' });
        }
        // cstring[]
        1263 => return Some(comma(Form::Text)),
        _ => {}
    }
    for (scalar, array, send) in SCALARS {
        if oid == *scalar {
            return Form::of_send(send);
        }
        if oid == *array {
            return Form::of_send(send).map(comma);
        }
    }
    for (range, ranges, multirange, multiranges, send) in RANGES {
        if [*range, *ranges, *multirange, *multiranges].contains(&oid) {
            let bound = Box::new(Form::of_send(send)?);
            let is_multi = oid == *multirange || oid == *multiranges;
            let form = if is_multi { Form::Multirange { bound } } else { Form::Range { bound } };
            let is_array = oid == *ranges || oid == *multiranges;
            return Some(if is_array { comma(form) } else { form });
        }
    }
    None
}

//! Which types hold all that another holds.

const INTEGERS: [&str; 3] = ["smallint", "integer", "bigint"];

/// Whether `want` holds every value of `have`, as it is, and more. Both are as `format_type` names
/// them.
pub(super) fn widens(have: &str, want: &str) -> bool {
    let rank = |name: &str| INTEGERS.iter().position(|other| *other == name);
    match (rank(have), rank(want)) {
        (Some(have), Some(want)) => return want > have,
        (Some(_), None) => return want == "numeric",
        _ => {}
    }
    let ((have, of_have), (want, of_want)) = (parts(have), parts(want));
    match (have, want) {
        ("real", "double precision") => true,
        ("character varying", "text") => true,
        ("character varying", "character varying") => match (of_have, of_want) {
            ([Some(have), _], [Some(want), _]) => want > have,
            ([Some(_), _], [None, _]) => true,
            _ => false,
        },
        ("numeric", "numeric") => match (of_have, of_want) {
            ([Some(_), _], [None, _]) => true,
            ([Some(digits), scale], [Some(more), finer]) => {
                let (scale, finer) = (scale.unwrap_or(0), finer.unwrap_or(0));
                let (whole, larger) = (digits - scale, more - finer);
                finer >= scale && larger >= whole && (finer, larger) != (scale, whole)
            }
            _ => false,
        },
        _ => false,
    }
}

/// Cuts `numeric(10,2)` into its name and its numbers.
fn parts(name: &str) -> (&str, [Option<i64>; 2]) {
    let Some((bare, rest)) = name.split_once('(') else { return (name, [None, None]) };
    let Some(inner) = rest.strip_suffix(')') else { return (name, [None, None]) };
    let mut numbers = inner.split(',').map(|number| number.trim().parse().ok());
    (bare, [numbers.next().flatten(), numbers.next().flatten()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(have: &str, want: &str, expected: bool) {
        assert_eq!(widens(have, want), expected, "{have} to {want}");
    }

    #[test]
    fn only_what_holds_everything_widens() {
        check("smallint", "integer", true);
        check("integer", "bigint", true);
        check("integer", "numeric", true);
        check("integer", "numeric(10,2)", false);
        check("bigint", "integer", false);
        check("bigint", "bigint", false);
        check("real", "double precision", true);
        check("double precision", "real", false);
        check("character varying(3)", "character varying(5)", true);
        check("character varying(5)", "character varying(3)", false);
        check("character varying(5)", "character varying", true);
        check("character varying(5)", "text", true);
        check("character varying", "text", true);
        check("text", "character varying(5)", false);
        check("numeric(10,2)", "numeric(12,2)", true);
        check("numeric(10,2)", "numeric(12,4)", true);
        check("numeric(10,2)", "numeric(11,4)", false);
        check("numeric(10,2)", "numeric(10,2)", false);
        check("numeric(10,2)", "numeric", true);
        check("numeric", "numeric(10,2)", false);
        check("integer", "text", false);
        check("date", "text", false);
    }
}

//! As much of XML as answers have: elements without attributes, and text without markup.

/// Returns what the first element of this name has inside.
pub(super) fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    next(text, name).map(|(inside, _)| inside)
}

/// Returns what each element of this name has inside. None of them lies in another.
pub(super) fn elements<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (inside, after) = next(rest, name)?;
        rest = after;
        Some(inside)
    })
}

fn next<'a>(text: &'a str, name: &str) -> Option<(&'a str, &'a str)> {
    let (_, after) = text.split_once(&format!("<{name}>"))?;
    after.split_once(&format!("</{name}>"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_found_in_their_order() {
        let text =
            "<a xmlns=\"x\"><Failed><m><Id>1</Id></m><m><Id>2</Id></m></Failed><Id>3</Id></a>";
        let failed = element(text, "Failed").unwrap();
        let ids: Vec<_> = elements(failed, "m").filter_map(|m| element(m, "Id")).collect();
        assert_eq!(ids, ["1", "2"]);
        assert_eq!(element(text, "Successful"), None);
        assert_eq!(element("<Id>1", "Id"), None);
    }
}

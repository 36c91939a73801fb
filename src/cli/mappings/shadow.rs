//! `walgate mappings shadow`

use serde_json::{Value, json};

use super::{line, read};
use crate::cli::failure::{Exit, Failure};
use crate::cli::{asking, output};
use crate::config::Config;
use crate::pipeline::{ShadowSample, StoredShadow, stored_shadows};

pub(super) fn run(config: &Config, name: Option<&str>, json: bool) -> Result<Exit, Failure> {
    if let Some(name) = name {
        let names = config.mappings.iter().map(|mapping| mapping.name.as_str()).collect();
        asking::has("mapping", name, names)?;
    }
    let mut all = read(config, stored_shadows)?.unwrap_or_default();
    all.retain(|shadow| name.is_none_or(|name| name == shadow.name));
    for shadow in &all {
        if json {
            line(&document(shadow))?;
        } else {
            output::data(&text(shadow))?;
        }
    }
    if all.is_empty() {
        output::note(
            "no next version is compared: write [mapping.NAME.next] with its version and fields, \
             and start walgate",
        );
    }
    Ok(Exit::Done)
}

fn document(shadow: &StoredShadow) -> Value {
    let figures = &shadow.figures;
    json!({
        "name": shadow.name,
        "version": shadow.version,
        "next_version": shadow.next_version,
        "since": shadow.since.to_string(),
        "updated_at": shadow.updated_at.to_string(),
        "compared": figures.compared,
        "differ": figures.differ,
        "fields": figures.fields,
        "rejected": figures.rejected,
        "skipped": figures.skipped,
        "gaps": figures.gaps,
        "samples": figures.samples,
    })
}

fn text(shadow: &StoredShadow) -> String {
    let figures = &shadow.figures;
    let mut text = format!(
        "{}: version {} beside {}, since {}\n  {} events compared, {} differ\n",
        shadow.name,
        shadow.next_version,
        shadow.version,
        shadow.since,
        figures.compared,
        figures.differ
    );
    for (word, sides) in [("rejected", figures.rejected), ("skipped", figures.skipped)] {
        if sides.present > 0 || sides.next > 0 {
            text.push_str(&format!(
                "  {word}: {} by version {}, {} by version {}\n",
                sides.present, shadow.version, sides.next, shadow.next_version
            ));
        }
    }
    if figures.gaps > 0 {
        let gaps = figures.gaps;
        text.push_str(&format!("  not all was compared: changes came too fast {gaps} times\n"));
    }
    let mut fields: Vec<_> = figures.fields.iter().collect();
    fields.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    for (field, count) in fields {
        text.push_str(&format!("  {count:>8}  {field}\n"));
    }
    for sample in &figures.samples {
        text.push_str(&sample_text(sample));
    }
    text
}

fn sample_text(sample: &ShadowSample) -> String {
    let table = sample.table.as_deref().unwrap_or("message");
    let mut text = format!("  {} {} {table}\n", sample.event, sample.op);
    if let (Some(present), Some(next)) = (&sample.present, &sample.next) {
        text.push_str(&format!("    {present} → {next}\n"));
    }
    let or_none = |value: &Option<String>| value.clone().unwrap_or_else(|| "not there".to_owned());
    for field in &sample.fields {
        let (present, next) = (or_none(&field.present), or_none(&field.next));
        text.push_str(&format!("    {}: {present} → {next}\n", field.field));
    }
    text
}

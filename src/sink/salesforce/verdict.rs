//! What Salesforce means by the codes of its errors.

use serde::Deserialize;

use crate::failure::Category;

/// One error, of a record or of a whole request.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Problem {
    #[serde(default, alias = "statusCode", alias = "errorCode")]
    pub(super) code: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    pub(super) fields: Vec<String>,
}

/// What waiting mends: locks, busy servers, and those that stood beside a failure.
const TRANSIENT: &[&str] = &[
    "UNABLE_TO_LOCK_ROW",
    "SERVER_UNAVAILABLE",
    "REQUEST_RUNNING_TOO_LONG",
    "QUERY_TIMEOUT",
    "UNKNOWN_EXCEPTION",
    "ALL_OR_NONE_OPERATION_ROLLED_BACK",
    "PROCESSING_HALTED",
    "API_TEMPORARILY_UNAVAILABLE",
];

/// Limits of the org; those of requests at the same time are told by how they begin.
const THROTTLED: &[&str] = &["REQUEST_LIMIT_EXCEEDED", "LIMIT_EXCEEDED", "TXN_LIMIT_EXCEEDED"];
const THROTTLED_PREFIX: &str = "CONCURRENT_";

/// What is wrong with every record alike.
const SETUP: &[&str] = &[
    "INVALID_SESSION_ID",
    "INVALID_AUTH_HEADER",
    "API_DISABLED_FOR_ORG",
    "API_CURRENTLY_DISABLED",
    "INVALID_TYPE",
    "INVALID_FIELD",
    "NOT_FOUND",
    "STORAGE_LIMIT_EXCEEDED",
];

/// What is wrong with the record.
const REJECTED: &[&str] = &[
    "REQUIRED_FIELD_MISSING",
    "FIELD_CUSTOM_VALIDATION_EXCEPTION",
    "STRING_TOO_LONG",
    "INVALID_EMAIL_ADDRESS",
    "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
    "INVALID_CROSS_REFERENCE_KEY",
    "DUPLICATES_DETECTED",
    "DUPLICATE_EXTERNAL_ID",
    "ENTITY_IS_DELETED",
    "INVALID_FIELD_FOR_INSERT_UPDATE",
    "DELETE_FAILED",
];
const REJECTED_PREFIX: &str = "INSUFFICIENT_ACCESS";

/// A record that a trigger or flow refused; the reason inside may be a lock.
const BY_TRIGGER: &str = "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY";
const DUPLICATE: &str = "DUPLICATE_VALUE";

impl Problem {
    /// Reads one of a job's results: `CODE:message:field, field --`.
    pub(super) fn of_job(text: &str) -> Self {
        let (code, rest) = text.split_once(':').unwrap_or((text, ""));
        let (message, fields) = rest.rsplit_once(':').unwrap_or((rest, ""));
        let fields = fields.trim_end_matches("--").split(',').map(str::trim);
        Self {
            code: code.trim().to_owned(),
            message: message.to_owned(),
            fields: fields.filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        }
    }

    /// Sorts it; none: not a code that is known. `external_id` is the field that records are
    /// upserted by.
    pub(super) fn category(&self, external_id: &str) -> Option<Category> {
        let code = self.code.as_str();
        let is = |list: &[&str]| list.contains(&code);
        let is_lock = code == BY_TRIGGER && self.is_of_a_lock();
        if is(TRANSIENT) || is_lock || self.is_of_a_parent() {
            return Some(Category::Transient);
        }
        if code == DUPLICATE {
            return Some(self.category_of_duplicate(external_id));
        }
        if is(THROTTLED) || code.starts_with(THROTTLED_PREFIX) {
            return Some(Category::Throttled);
        }
        if is(SETUP) {
            return Some(Category::Setup);
        }
        let is_rejected = is(REJECTED) || code.starts_with(REJECTED_PREFIX) || code == BY_TRIGGER;
        is_rejected.then_some(Category::Rejected)
    }

    /// Two requests that made the same record at the same time: it is there then.
    fn category_of_duplicate(&self, external_id: &str) -> Category {
        let is_id = self.fields.iter().any(|field| field == external_id)
            || self.message.contains("external id specified")
            || names(&self.message, external_id);
        if is_id { Category::Transient } else { Category::Rejected }
    }

    fn is_of_a_lock(&self) -> bool {
        ["UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access"]
            .into_iter()
            .any(|sign| self.message.contains(sign))
    }

    /// Whether the record that a relation names by its external id is not there (yet): that has the
    /// code of a field that is not there.
    fn is_of_a_parent(&self) -> bool {
        self.code == "INVALID_FIELD" && self.message.contains("Foreign key external ID")
    }

    /// Whether a record that was to be deleted is not there. Not so where the field of the
    /// external id is not.
    pub(super) fn is_gone(&self) -> bool {
        let is_of_the_field = self.message.to_ascii_lowercase().contains("external id field");
        matches!(self.code.as_str(), "NOT_FOUND" | "ENTITY_IS_DELETED") && !is_of_the_field
    }
}

/// Whether a message has a name as a word of its own.
fn names(message: &str, name: &str) -> bool {
    let is_part = |sign: char| sign.is_ascii_alphanumeric() || sign == '_';
    !name.is_empty() && message.split(|sign| !is_part(sign)).any(|word| word == name)
}

/// Sorts the errors of a record: the one that waiting or mending would clear first decides.
pub(super) fn of_record(problems: &[Problem], external_id: &str) -> Category {
    let sorted =
        problems.iter().map(|problem| problem.category(external_id).unwrap_or(Category::Rejected));
    sorted.max_by_key(|category| severity(*category)).unwrap_or(Category::Transient)
}

/// Says what the errors are, without what they say: that may have values of the row.
pub(super) fn words(problems: &[Problem]) -> String {
    let one = |problem: &Problem| match problem.fields.as_slice() {
        [] => problem.code.clone(),
        fields => format!("{} ({})", problem.code, fields.join(", ")),
    };
    problems.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Says all that the errors say, for a dead letter.
pub(super) fn told(problems: &[Problem]) -> String {
    let one = |problem: &Problem| format!("{}: {}", problem.code, problem.message);
    problems.iter().map(one).collect::<Vec<_>>().join("; ")
}

const fn severity(category: Category) -> u8 {
    match category {
        Category::Rejected => 0,
        Category::Transient | Category::Exhausted => 1,
        Category::Throttled => 2,
        Category::Setup => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(code: &str, message: &str, fields: &[&str]) -> Problem {
        let fields = fields.iter().map(|&field| field.to_owned()).collect();
        Problem { code: code.to_owned(), message: message.to_owned(), fields }
    }

    #[track_caller]
    fn check(codes: &[&str], expected: Category) {
        for code in codes {
            let sorted = problem(code, "", &[]).category("Ext__c");
            assert_eq!(sorted, Some(expected), "{code}");
        }
    }

    #[test]
    fn every_code_is_sorted() {
        check(TRANSIENT, Category::Transient);
        check(THROTTLED, Category::Throttled);
        check(&["CONCURRENT_REQUESTS_LIMIT_EXCEEDED"], Category::Throttled);
        check(SETUP, Category::Setup);
        check(REJECTED, Category::Rejected);
        let access =
            ["INSUFFICIENT_ACCESS_OR_READONLY", "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY"];
        check(&access, Category::Rejected);
        check(&[BY_TRIGGER, DUPLICATE], Category::Rejected);
        assert_eq!(problem("NUMBER_OUTSIDE_VALID_RANGE", "", &[]).category("Ext__c"), None);
    }

    #[test]
    fn a_duplicate_of_the_external_id_was_made_by_another_request() {
        let sort =
            |message: &str, fields: &[&str]| problem(DUPLICATE, message, fields).category("Ext__c");
        let of_id = "duplicate value found: Ext__c duplicates value on record with id: 001x";
        assert_eq!(sort(of_id, &[]), Some(Category::Transient));
        assert_eq!(sort("Duplicate external id specified: 7", &[]), Some(Category::Transient));
        assert_eq!(sort("", &["Ext__c"]), Some(Category::Transient));
        let of_other = "duplicate value found: Other_Ext__c duplicates value on record";
        assert_eq!(sort(of_other, &[]), Some(Category::Rejected));
    }

    #[test]
    fn a_lock_inside_a_trigger_is_a_lock() {
        let inside = "AccountTrigger: execution of BeforeUpdate caused by: UNABLE_TO_LOCK_ROW";
        assert_eq!(problem(BY_TRIGGER, inside, &[]).category("x"), Some(Category::Transient));
        assert_eq!(problem(BY_TRIGGER, "no", &[]).category("x"), Some(Category::Rejected));
    }

    #[test]
    fn a_parent_that_is_not_there_yet_may_come() {
        let missing = "Foreign key external ID: 7 not found for field Ext__c in entity Account";
        assert_eq!(problem("INVALID_FIELD", missing, &[]).category("x"), Some(Category::Transient));
    }

    #[test]
    fn of_several_errors_the_heaviest_decides_and_an_unknown_one_is_the_records() {
        let of = |codes: &[&str]| {
            let problems: Vec<_> = codes.iter().map(|code| problem(code, "", &[])).collect();
            of_record(&problems, "Ext__c")
        };
        assert_eq!(of(&["STRING_TOO_LONG", "UNABLE_TO_LOCK_ROW"]), Category::Transient);
        assert_eq!(of(&["UNABLE_TO_LOCK_ROW", "INVALID_FIELD"]), Category::Setup);
        assert_eq!(of(&["SOMETHING_NEW"]), Category::Rejected);
        assert_eq!(of(&[]), Category::Transient);
    }

    #[test]
    fn a_jobs_errors_are_read() {
        let read =
            Problem::of_job("REQUIRED_FIELD_MISSING:Required fields are missing: [Name]:Name --");
        assert_eq!(
            (read.code.as_str(), read.fields.as_slice()),
            (REJECTED[0], &["Name".to_owned()][..])
        );
        assert_eq!(
            Problem::of_job("UNABLE_TO_LOCK_ROW:unable to obtain:--").code,
            "UNABLE_TO_LOCK_ROW"
        );
        assert_eq!(words(&[read]), "REQUIRED_FIELD_MISSING (Name)");
    }

    #[test]
    fn a_record_that_is_gone_is_not_a_field_that_is_not_there() {
        let gone = problem("NOT_FOUND", "The requested resource does not exist", &[]);
        assert!(gone.is_gone());
        let field = "Provided external ID field does not exist or is not accessible: Ext__c";
        assert!(!problem("NOT_FOUND", field, &[]).is_gone());
    }
}

//! `[sink.NAME.salesforce]`

use crate::config::keys::Otherwise::{None, Required, Toml};
use crate::config::keys::Shape::{Boolean, Integer, Path, Secret, Table, Text, Word};
use crate::config::keys::{Section, key};

/// `[sink.NAME.salesforce]`
pub(in crate::config::keys) static SALESFORCE: Section = Section {
    title: "a salesforce sink",
    keys: &[
        key("url", Text, Required, "the org's My Domain: `https://acme.my.salesforce.com`"),
        key("auth", Table(&AUTH), Required, "how a token is got; one of the two"),
        key("object", Text, Required, "the object's API name; may have `{{ }}` templates"),
        key(
            "external_id",
            Text,
            None,
            "the API name of the external id field; its value is the field's of that name, else the key's one column",
        ),
        key("api", Text, Toml("\"v66.0\""), "the version of the API"),
        key(
            "mode",
            Word(&["upsert", "platform_event"], &[]),
            Toml("\"upsert\""),
            "what an event becomes: a record, or a platform event of the object (`Order_Event__e`)",
        ),
        key(
            "delete",
            Word(&["ignore", "delete"], &[]),
            Toml("\"ignore\""),
            "whether the record of a row that is deleted, or whose key changes, stays or goes",
        ),
        key(
            "bulk",
            Integer(1, 100_000),
            None,
            "loads of so many rows in a batch and more go by Bulk API 2.0; never unless set",
        ),
        key(
            "daily_budget",
            Integer(1, 100),
            Toml("90"),
            "percent of the org's daily API requests, used by whomever, past which nothing is sent",
        ),
        key(
            "allow_duplicates",
            Boolean,
            Toml("false"),
            "records are saved even where a duplicate rule warns",
        ),
        key(
            "allow_private",
            Boolean,
            Toml("false"),
            "requests may go to private addresses (10.0.0.0/8 and the like); to this machine they always may",
        ),
        key("ca", Path, None, "certificates to trust beside the system's (PEM)"),
    ],
};

static AUTH: Section = Section {
    title: "a salesforce sink's auth",
    keys: &[
        key("client_credentials", Table(&CLIENT), None, "the app's own consumer key and secret"),
        key("jwt", Table(&JWT), None, "an assertion that is signed with the app's key"),
    ],
};

static CLIENT: Section = Section {
    title: "client_credentials",
    keys: &[
        key("client_id", Secret, Required, "the app's consumer key"),
        key("client_secret", Secret, Required, "its consumer secret"),
    ],
};

static JWT: Section = Section {
    title: "jwt",
    keys: &[
        key("client_id", Secret, Required, "the app's consumer key"),
        key("user", Text, Required, "who the requests are made as"),
        key("key", Path, Required, "the RSA private key to the app's certificate (PEM)"),
    ],
};

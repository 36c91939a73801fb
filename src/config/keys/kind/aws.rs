//! `[sink.NAME.sqs]`, `sns`, `kinesis`, `firehose`, `eventbridge`

use crate::config::keys::Otherwise::{None, Required, Toml};
use crate::config::keys::Shape::{Boolean, Path, Secret, Text};
use crate::config::keys::{Key, Section, key};

/// `[sink.NAME.sqs]`
pub(in crate::config::keys) static SQS: Section = Section {
    title: "an sqs sink",
    keys: &[
        key(
            "queue_url",
            Text,
            Required,
            "`https://sqs.REGION.amazonaws.com/ACCOUNT/NAME`; `.fifo` at its end: a FIFO queue",
        ),
        key("group", Text, None, GROUP),
        REGION,
        ENDPOINT,
        ID,
        SECRET,
        TOKEN,
        PROFILE,
        PRIVATE,
        CA,
    ],
};

/// `[sink.NAME.sns]`
pub(in crate::config::keys) static SNS: Section = Section {
    title: "an sns sink",
    keys: &[
        key(
            "topic_arn",
            Text,
            Required,
            "`arn:aws:sns:REGION:ACCOUNT:NAME`; `.fifo` at its end: a FIFO topic",
        ),
        key("group", Text, None, GROUP),
        REGION,
        ENDPOINT,
        ID,
        SECRET,
        TOKEN,
        PROFILE,
        PRIVATE,
        CA,
    ],
};

/// `[sink.NAME.kinesis]`
pub(in crate::config::keys) static KINESIS: Section = Section {
    title: "a kinesis sink",
    keys: &[
        key("stream", Text, Required, "its name or ARN"),
        key(
            "partition_key",
            Text,
            None,
            "what goes to one shard, in order; may have `{{ }}` templates; the event's key unless set",
        ),
        REGION,
        ENDPOINT,
        ID,
        SECRET,
        TOKEN,
        PROFILE,
        PRIVATE,
        CA,
    ],
};

/// `[sink.NAME.firehose]`
pub(in crate::config::keys) static FIREHOSE: Section = Section {
    title: "a firehose sink",
    keys: &[
        key("stream", Text, Required, "its name or ARN"),
        REGION,
        ENDPOINT,
        ID,
        SECRET,
        TOKEN,
        PROFILE,
        PRIVATE,
        CA,
    ],
};

/// `[sink.NAME.eventbridge]`
pub(in crate::config::keys) static EVENTBRIDGE: Section = Section {
    title: "an eventbridge sink",
    keys: &[
        key("bus", Text, Toml("\"default\""), "its name or ARN"),
        key("source", Text, Toml("\"walgate\""), "the `source` of each event, for rules to match"),
        key(
            "detail_type",
            Text,
            Toml("\"walgate.{{ op }}\""),
            "the `detail-type` of each event; may have `{{ }}` templates",
        ),
        REGION,
        ENDPOINT,
        ID,
        SECRET,
        TOKEN,
        PROFILE,
        PRIVATE,
        CA,
    ],
};

const GROUP: &str = "MessageGroupId: what is in order; may have `{{ }}` templates; of FIFO the event's key unless set, else none";

const REGION: Key = key(
    "region",
    Text,
    None,
    "such as `eu-central-1`; else what the URL or ARN says, AWS_REGION, or the profile",
);

const ENDPOINT: Key = key(
    "endpoint",
    Text,
    None,
    "the service's address where it is not Amazon's own, such as a VPC endpoint's; else AWS_ENDPOINT_URL",
);

const ID: Key = key(
    "access_key_id",
    Secret,
    None,
    "who walgate says that it is; else what environment, profile, pod, container or instance say",
);

const SECRET: Key = key("secret_access_key", Secret, None, "its secret");

const TOKEN: Key = key("session_token", Secret, None, "of credentials that end");

const PROFILE: Key = key("profile", Text, None, "a profile in `~/.aws`; else AWS_PROFILE");

const PRIVATE: Key = key(
    "allow_private",
    Boolean,
    Toml("false"),
    "requests may go to private addresses (10.0.0.0/8 and the like), as VPC endpoints have",
);

const CA: Key = key("ca", Path, None, "certificates to trust beside the system's (PEM)");

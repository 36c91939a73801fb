//! The settings: [`Config`], the same for all services but for [`Target`].

use crate::secret::Secret;
use crate::sink::web::Reach;

/// `[sink.NAME.sqs]` and those of the other services.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where events go.
    pub target: Target,
    /// Whose requests are signed for; none: what the target's own name says, or the environment.
    pub region: Option<String>,
    /// Where the service is; none: Amazon's own address, or what the environment says.
    pub endpoint: Option<String>,
    /// Who walgate says that it is.
    pub identity: Identity,
    /// Where requests may go, and how.
    pub reach: Reach,
}

/// A service, and what of it is written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Amazon SQS.
    Sqs {
        /// `https://sqs.REGION.amazonaws.com/ACCOUNT/NAME`; `.fifo` at its end tells the kind.
        queue_url: String,
        /// What is in order; may have `{{ }}`. None: of FIFO queues the key, of others nothing.
        group: Option<String>,
    },
    /// Amazon SNS.
    Sns {
        /// `arn:aws:sns:REGION:ACCOUNT:NAME`; `.fifo` at its end tells the kind.
        topic_arn: String,
        /// What is in order; may have `{{ }}`. None: of FIFO topics the key, of others nothing.
        group: Option<String>,
    },
    /// Amazon Kinesis Data Streams.
    Kinesis {
        /// Its name or ARN.
        stream: String,
        /// What goes to one shard; may have `{{ }}`. None: the key.
        partition_key: Option<String>,
    },
    /// Amazon Data Firehose.
    Firehose {
        /// Its name or ARN.
        stream: String,
    },
    /// Amazon `EventBridge`.
    EventBridge {
        /// Its name or ARN.
        bus: String,
        /// The `source` of each event.
        source: String,
        /// The `detail-type` of each event; may have `{{ }}`.
        detail_type: String,
    },
}

/// Who walgate says that it is; without keys: what environment, files and machine say.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// `AKIA…`
    pub access_key_id: Option<Secret>,
    /// Its secret.
    pub secret_access_key: Option<Secret>,
    /// Of credentials that end.
    pub session_token: Option<Secret>,
    /// The profile in the files of the AWS command line; none: `AWS_PROFILE`, or `default`.
    pub profile: Option<String>,
}

impl Target {
    /// Returns the kind's word.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Sqs { .. } => "sqs",
            Self::Sns { .. } => "sns",
            Self::Kinesis { .. } => "kinesis",
            Self::Firehose { .. } => "firehose",
            Self::EventBridge { .. } => "eventbridge",
        }
    }

    /// Returns what its address and signatures call the service.
    pub(super) const fn service(&self) -> &'static str {
        match self {
            Self::EventBridge { .. } => "events",
            Self::Sqs { .. } | Self::Sns { .. } | Self::Kinesis { .. } | Self::Firehose { .. } => {
                self.kind()
            }
        }
    }

    /// Returns the setting that names what is written to, and its value.
    pub(super) fn named(&self) -> (&'static str, &str) {
        match self {
            Self::Sqs { queue_url, .. } => ("queue_url", queue_url),
            Self::Sns { topic_arn, .. } => ("topic_arn", topic_arn),
            Self::Kinesis { stream, .. } | Self::Firehose { stream } => ("stream", stream),
            Self::EventBridge { bus, .. } => ("bus", bus),
        }
    }
}

impl Config {
    /// Returns the kind's word, as the config's table is called.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        self.target.kind()
    }
}

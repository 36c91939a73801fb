//! [`Place`]: the region, and the address of a service in it.

use url::Url;

use super::around::Around;
use super::credentials::Profiles;
use super::{Config, Error, Target};
use crate::sink::web;

/// Where a service is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The setting that says so, for messages.
    pub(super) key: &'static str,
    /// Whose keys sign.
    pub(super) region: String,
    /// Scheme, host and port.
    pub(super) url: Url,
}

impl Place {
    /// Looks where the target is. Its own name goes before the environment: a queue of another
    /// region is asked for there.
    ///
    /// # Errors
    /// Nothing says the region, or what says it can't be right.
    pub(super) fn new(
        config: &Config,
        profiles: &Profiles,
        around: &Around,
    ) -> Result<Self, Error> {
        let target = &config.target;
        let (named, _) = target.named();
        let own = origin_of(target)?;
        let region = config
            .region
            .clone()
            .or_else(|| region_of(target))
            .or_else(|| around.variable("AWS_REGION"))
            .or_else(|| around.variable("AWS_DEFAULT_REGION"))
            .or_else(|| profiles.read()?.region().map(str::to_owned))
            .ok_or(Error::NoRegion { key: named })?;
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if region.is_empty() || !region.bytes().all(fits) {
            return Err(Error::Region);
        }
        let variable = match target {
            Target::EventBridge { .. } => "EVENTBRIDGE".to_owned(),
            _ => target.kind().to_uppercase(),
        };
        let given = config.endpoint.clone().or_else(|| endpoint_of(around, &variable));
        let (key, url) = match (given, own) {
            (Some(given), _) => ("endpoint", origin("endpoint", &given)?),
            (None, Some(own)) => (named, own),
            (None, None) => ("region", web::url("region", &address(target.service(), &region))?),
        };
        Ok(Self { key, region, url })
    }

    /// Returns the host as requests name it.
    pub(super) fn host(&self) -> String {
        let port = self.url.port().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}{port}", self.url.host_str().unwrap_or_default())
    }
}

/// Returns Amazon's own address of a service.
pub(super) fn address(service: &str, region: &str) -> String {
    let end = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    format!("https://{service}.{region}.{end}")
}

/// Returns what the environment says of an address: of this service, or of all.
pub(super) fn endpoint_of(around: &Around, service: &str) -> Option<String> {
    around
        .variable(&format!("AWS_ENDPOINT_URL_{service}"))
        .or_else(|| around.variable("AWS_ENDPOINT_URL"))
}

/// Reads an address of scheme, host and port.
fn origin(key: &str, text: &str) -> Result<Url, Error> {
    let url = web::url(key, text)?;
    if !matches!(url.path(), "" | "/") || url.query().is_some() {
        return Err(Error::Path { key: key.to_owned() });
    }
    Ok(url)
}

/// Returns where the target's own name says that it is; and holds that it is such a name.
fn origin_of(target: &Target) -> Result<Option<Url>, Error> {
    let wrong = |what| {
        let (key, _) = target.named();
        Err(Error::Name { key, what })
    };
    match target {
        Target::Sqs { queue_url, .. } => {
            let mut url = web::url("queue_url", queue_url)?;
            if url.path().trim_matches('/').is_empty() {
                return wrong("a queue's URL: https://sqs.REGION.amazonaws.com/ACCOUNT/NAME");
            }
            url.set_path("/");
            url.set_query(None);
            Ok(Some(url))
        }
        Target::Sns { topic_arn, .. } if arn(topic_arn).is_none() => {
            wrong("a topic's ARN: arn:aws:sns:REGION:ACCOUNT:NAME")
        }
        _ => Ok(None),
    }
}

fn region_of(target: &Target) -> Option<String> {
    match target {
        Target::Sqs { queue_url, .. } => {
            let url = Url::parse(queue_url).ok()?;
            let mut parts = url.host_str()?.split('.');
            let is_own = url.host_str()?.contains(".amazonaws.com");
            (is_own && parts.next() == Some("sqs")).then(|| parts.next().map(str::to_owned))?
        }
        _ => arn(target.named().1).map(|(_, region)| region.to_owned()),
    }
}

/// Returns the service and region of an ARN: `arn:aws:SERVICE:REGION:ACCOUNT:NAME`.
fn arn(text: &str) -> Option<(&str, &str)> {
    let mut parts = text.split(':');
    let starts = parts.next() == Some("arn") && parts.next().is_some();
    let (service, region) = (parts.next()?, parts.next()?);
    let rest = parts.count();
    (starts && rest >= 2 && !region.is_empty()).then_some((service, region))
}

/// Returns the last part of an ARN or a URL: what people call it.
pub(super) fn short(name: &str) -> &str {
    name.rsplit(['/', ':']).next().unwrap_or(name)
}

/// Whether it is an ARN, not a name.
pub(super) fn is_arn(name: &str) -> bool {
    arn(name).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::aws::settings::Identity;
    use crate::sink::web::Reach;

    fn of(target: Target, region: Option<&str>, variables: &'static [(&str, &str)]) -> String {
        let around = Around::of(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        });
        let config = Config {
            target,
            region: region.map(str::to_owned),
            endpoint: None,
            identity: Identity::default(),
            reach: Reach::default(),
        };
        match Place::new(&config, &Profiles::new(None, &around), &around) {
            Ok(place) => format!("{} {} {}", place.key, place.region, place.url),
            Err(error) => format!("{}: {error}", error.key()),
        }
    }

    fn sqs(url: &str) -> Target {
        Target::Sqs { queue_url: url.to_owned(), group: None }
    }

    fn kinesis(stream: &str) -> Target {
        Target::Kinesis { stream: stream.to_owned(), partition_key: None }
    }

    #[test]
    fn a_name_says_where_it_is() {
        let own = "https://sqs.eu-central-1.amazonaws.com/1/q";
        let there = "eu-central-1 https://sqs.eu-central-1.amazonaws.com/";
        assert_eq!(of(sqs(own), None, &[("AWS_REGION", "x")]), format!("queue_url {there}"));
        let arn = "arn:aws:kinesis:us-west-2:1:stream/s";
        let there = "region us-west-2 https://kinesis.us-west-2.amazonaws.com/";
        assert_eq!(of(kinesis(arn), None, &[("AWS_REGION", "x")]), there);
        let china = Target::Firehose { stream: "s".to_owned() };
        let there = "region cn-north-1 https://firehose.cn-north-1.amazonaws.com.cn/";
        assert_eq!(of(china, Some("cn-north-1"), &[]), there);
    }

    #[test]
    fn the_environment_says_what_the_config_does_not() {
        let there = "region us-east-1 https://kinesis.us-east-1.amazonaws.com/";
        assert_eq!(of(kinesis("s"), None, &[("AWS_DEFAULT_REGION", "us-east-1")]), there);
        let both = &[("AWS_REGION", "a-1"), ("AWS_ENDPOINT_URL", "http://localhost:9")];
        assert_eq!(of(kinesis("s"), None, both), "endpoint a-1 http://localhost:9/");
        let both = &[("AWS_ENDPOINT_URL_SQS", "http://x"), ("AWS_ENDPOINT_URL", "http://y")];
        assert_eq!(of(sqs("http://z/1/q"), Some("a-1"), both), "endpoint a-1 http://x/");
    }

    #[test]
    fn what_can_not_be_is_a_problem_of_its_key() {
        let said = of(kinesis("s"), None, &[]);
        assert!(
            said.starts_with("region: `region` is missing: neither `stream`, AWS_REGION"),
            "{said}"
        );
        assert!(of(sqs("https://x/"), Some("a"), &[]).starts_with("queue_url: "));
        assert!(of(sqs("q"), Some("a"), &[]).starts_with("queue_url: "));
        let sns = Target::Sns { topic_arn: "t".to_owned(), group: None };
        assert!(of(sns, Some("a"), &[]).starts_with("topic_arn: `topic_arn` is not a topic's ARN"));
        assert!(of(kinesis("s"), Some("Europe"), &[]).starts_with("region: "));
        let path = &[("AWS_ENDPOINT_URL", "http://x/y")];
        assert!(of(kinesis("s"), Some("a"), path).starts_with("endpoint: "));
    }
}

//! [`Targets`]: where the events of each operation go, checked once.

use std::sync::Arc;

use url::Url;

use super::plan::Plan;
use super::{Config, Error};
use crate::chunk::Operation;
use crate::sink::web::guard::Guard;
use crate::sink::web::pool::Pool;
use crate::sink::web::transport::{self, Way};
use crate::sink::{Common, Form, web};

/// What is asked for, and the connections to where it is.
pub(super) struct Target {
    pub(super) plan: Plan,
    pub(super) pool: Arc<Pool>,
}

/// The targets of a sink.
pub(super) struct Targets {
    /// Of each operation that has none of its own.
    pub(super) usual: Target,
    own: Vec<(Operation, Target)>,
    /// Scheme, host and port, if all plans send to the same.
    pub(super) host: Option<String>,
}

impl Targets {
    /// Checks the settings. Connects to nothing.
    pub(super) fn new(config: &Config, common: &Common) -> Result<Self, Error> {
        match common.form {
            Form::CloudEvents if config.binary && common.max_events > 1 => {
                return Err(Error::BinaryBatch);
            }
            Form::Walgate | Form::Mapped | Form::Debezium if config.binary => {
                return Err(Error::NoCloudEvents);
            }
            _ => {}
        }
        let plan = Plan::new(config, None, common)?;
        let mut plans = Vec::new();
        for (operation, over) in &config.on {
            let plan = Plan::new(config, Some((operation.as_str(), over)), common)?;
            if common.max_events > 1 {
                return Err(Error::OneEvent { key: format!("on.{}", operation.as_str()) });
            }
            plans.push((*operation, plan));
        }
        if let (Some(key), 2..) = (plan.templated(), common.max_events) {
            return Err(Error::OneEvent { key: key.to_owned() });
        }
        let all = || std::iter::once(&plan).chain(plans.iter().map(|(_, plan)| plan));
        let tls =
            transport::tls(&config.reach.tls, all().any(|plan| plan.origin.scheme() == "https"))
                .map_err(web::Error::Tls)?;
        let is_one = all().all(|other| other.origin.origin() == plan.origin.origin());
        let host = is_one.then(|| format!("{}://{}", plan.origin.scheme(), plan.host));
        let guard = Guard::new(config.reach.allow_private);
        let mut pools = Pools { tls, common: *common, guard, made: Vec::new() };
        let pool = pools.of("url", &plan.origin)?;
        let own = plans.into_iter().map(|(operation, plan)| {
            let pool = pools.of(&format!("on.{}.url", operation.as_str()), &plan.origin)?;
            Ok::<_, Error>((operation, Target { plan, pool }))
        });
        let own = own.collect::<Result<_, _>>()?;
        Ok(Self { usual: Target { plan, pool }, own, host })
    }

    /// Returns the target of an operation.
    pub(super) fn of(&self, operation: Operation) -> &Target {
        self.own
            .iter()
            .find_map(|(other, target)| (*other == operation).then_some(target))
            .unwrap_or(&self.usual)
    }

    /// Returns each pool once, with the host it connects to.
    pub(super) fn pools(&self) -> Vec<(&str, &Arc<Pool>)> {
        let mut pools = vec![(self.usual.plan.host.as_str(), &self.usual.pool)];
        for (_, Target { plan, pool }) in &self.own {
            if !pools.iter().any(|(_, other)| Arc::ptr_eq(other, pool)) {
                pools.push((&plan.host, pool));
            }
        }
        pools
    }
}

/// The pools that are made so far: one an origin.
struct Pools {
    tls: Arc<rustls::ClientConfig>,
    common: Common,
    guard: Guard,
    made: Vec<(Url, Arc<Pool>)>,
}

impl Pools {
    /// Returns the pool of an origin, which the setting `key` names.
    fn of(&mut self, key: &str, origin: &Url) -> Result<Arc<Pool>, Error> {
        let known = self.made.iter().find(|(other, _)| other.origin() == origin.origin());
        if let Some((_, pool)) = known {
            return Ok(Arc::clone(pool));
        }
        let way = Way::new(key, origin, &self.tls, self.common.timeout, self.guard)?;
        let pool = Arc::new(Pool::new(way, self.common.concurrency));
        self.made.push((origin.clone(), Arc::clone(&pool)));
        Ok(pool)
    }
}

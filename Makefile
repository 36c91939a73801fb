# Each target does its own set-up: quietly, and only what is missing.
.PHONY: demo test bench

# A shop under load on a throw-away Postgres, with a CRM endpoint that misbehaves.
demo:
	@scripts/setup
	cargo run --release --quiet --locked -- demo --faults

# Everything, against real servers.
test:
	@scripts/setup test
	@scripts/test

# walgate beside pg_recvlogical on the same backlog, in one run.
bench:
	@scripts/setup
	cargo bench --locked --bench drain

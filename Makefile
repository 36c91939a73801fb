# Each target does its own set-up: quietly, and only what is missing.
.PHONY: demo test bench soak

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

# What is large, in full: ten million rows in one transaction, five million loaded over ten kills.
soak:
	@scripts/setup test
	WALGATE_SOAK=1 cargo nextest run --locked --release --profile soak --no-capture -E 'test(/^large::/)'

"""The boundary of what the shop's processes write: the logs of the demonstration world."""

HEALTHY = "".join(
    f'{{"level":"info","msg":"request","method":"GET","path":"/api/items/{100 + index % 17}","status":200,'
    f'"ms":{3 + index * 7 % 23}}}\n'
    for index in range(180)
)

CHECKOUT = """\
{"level":"info","msg":"starting checkout","version":"3.2.0"}
{"level":"info","msg":"connected to orders database","address":"orders-db.shop.svc:5432"}
{"level":"info","msg":"loading payment providers"}
{"level":"fatal","msg":"PAYMENTS_URL is empty: checkout 3.2.0 needs the payments URL, see ConfigMap shop/checkout"}
panic: configuration: PAYMENTS_URL must not be empty

goroutine 1 [running]:
main.mustConfigure(0xc00011c000)
	/src/cmd/checkout/main.go:58 +0x1d4
main.main()
	/src/cmd/checkout/main.go:31 +0x7c
"""

CATALOG = """\
catalog 5.0.1 listening on :8080
""" + "".join(
    f"WARN  /healthz 503: search index is {index} % built, not ready to serve\n"
    "ERROR index: cannot reach search.shop.svc.cluster.local:9200: lookup search.shop.svc.cluster.local: no such host\n"
    for index in (0, 0, 0, 0, 0, 0)
)

MIGRATION = """\
orders-migrate 12: connecting to orders-db.shop.svc:5432
applied 0041_add_coupons
applying 0042_add_refunds
ERROR:  column "refund_id" of relation "orders" already exists
migration 0042_add_refunds failed, rolled back
"""

ORDERS = """\
PostgreSQL Database directory appears to contain a database; Skipping initialization
LOG:  starting PostgreSQL 17.2 on x86_64-pc-linux-gnu
LOG:  listening on IPv4 address "0.0.0.0", port 5432
LOG:  database system is ready to accept connections
LOG:  checkpoint starting: time
LOG:  checkpoint complete: wrote 44 buffers (0.3%)
"""

RESIZER = """\
image-resizer 4.4.0: 4 workers, cache 256 MiB
resizing banner-9000x6000.png (54000000 pixels)
allocating 216000000 bytes for banner-9000x6000.png
"""

REPORT = """\
report for yesterday: 1284 orders, 37 refunds
uploaded to reports/daily
"""

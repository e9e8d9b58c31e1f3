BEGIN TRANSACTION;
CREATE TABLE messages (
    seq INTEGER PRIMARY KEY,
    agent TEXT NOT NULL,    -- in lower case
    id TEXT NOT NULL,
    over INTEGER NOT NULL,
    changed REAL NOT NULL,
    text TEXT NOT NULL,
    message TEXT NOT NULL,  -- all else, as JSON
    UNIQUE (agent, id)
);
INSERT INTO "messages" VALUES(1,'a','m1',1,1.7959951462585902214e+09,'hello','{"agent": "a", "status": "ended", "accepted": 1795995146.0500226, "changed": 1795995146.2585902, "expires": null, "begun": 1795995146.204283, "run": "6gmfq5xegdcjvyh6-8c744cd1b3ac000000", "turn": "1238-1", "outcome": "completed", "final_text": "I hear: hello", "failure": null, "error": null, "usage": {"input_tokens": 5, "output_tokens": 2, "cache_read_tokens": 0, "cache_write_tokens": 0, "cost_usd": null}}');
INSERT INTO "messages" VALUES(2,'a','m2',0,1.79599514633023643497e+09,'forever','{"agent": "a", "status": "started", "accepted": 1795995146.3086092, "changed": 1795995146.3302364, "expires": null, "begun": 1795995146.3141701, "run": "6gmfq5xegdcjvyh6-8c744cd1b3ac000000", "turn": "1238-2", "outcome": null, "final_text": null, "failure": null, "error": null, "usage": {"input_tokens": 0, "output_tokens": 0, "cache_read_tokens": 0, "cache_write_tokens": 0, "cost_usd": null}}');
INSERT INTO "messages" VALUES(3,'a','m3',0,1.79599514637955045702e+09,'later','{"agent": "a", "status": "queued", "accepted": 1795995146.3795505, "changed": 1795995146.3795505, "expires": null, "begun": null, "run": null, "turn": null, "outcome": null, "final_text": null, "failure": null, "error": null, "usage": {"input_tokens": 0, "output_tokens": 0, "cache_read_tokens": 0, "cache_write_tokens": 0, "cost_usd": null}}');
CREATE INDEX messages_that_are_over ON messages (over, changed);
COMMIT;

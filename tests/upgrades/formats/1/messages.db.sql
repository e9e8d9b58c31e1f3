PRAGMA user_version=1;
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
INSERT INTO "messages" VALUES(1,'a','m1',1,1.7959951837913384438e+09,'hello','{"agent": "a", "sender": "uid:0", "status": "ended", "accepted": 1795995183.5420127, "changed": 1795995183.7913384, "expires": null, "begun": 1795995183.7757413, "run": "fdlk66ljgzlqoiix-756d35030a4d000000", "turn": "4361-1", "witness": "hooks", "outcome": "completed", "final_text": "I hear: hello", "failure": null, "error": null, "usage": {"input_tokens": 5, "output_tokens": 2, "cache_read_tokens": 0, "cache_write_tokens": 0, "cost_usd": null}}');
INSERT INTO "messages" VALUES(2,'a','m2',0,1.79599518384252858165e+09,'forever','{"agent": "a", "sender": "uid:0", "status": "started", "accepted": 1795995183.838319, "changed": 1795995183.8425286, "expires": null, "begun": 1795995183.8386478, "run": "fdlk66ljgzlqoiix-756d35030a4d000000", "turn": "4361-2", "witness": "hooks", "outcome": null, "final_text": null, "failure": null, "error": null, "usage": {"input_tokens": 0, "output_tokens": 0, "cache_read_tokens": 0, "cache_write_tokens": 0, "cost_usd": null}}');
INSERT INTO "messages" VALUES(3,'a','m3',0,1.7959951838458909989e+09,'later','{"agent": "a", "sender": "uid:0", "status": "queued", "accepted": 1795995183.845891, "changed": 1795995183.845891, "expires": null, "begun": null, "run": null, "turn": null, "witness": null, "outcome": null, "final_text": null, "failure": null, "error": null, "usage": {"input_tokens": 0, "output_tokens": 0, "cache_read_tokens": 0, "cache_write_tokens": 0, "cost_usd": null}}');
CREATE INDEX messages_that_are_over ON messages (over, changed);
COMMIT;

-- People and limits: a session of somebody who has to set up a second factor first, and may do nothing else.

ALTER TABLE token ADD COLUMN enrolling boolean NOT NULL DEFAULT false;

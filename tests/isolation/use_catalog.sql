-- trick: moves the session
-- expect: refused
USE globex

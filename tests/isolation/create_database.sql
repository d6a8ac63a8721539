-- trick: a catalog with the victim's name
-- expect: refused
CREATE DATABASE globex

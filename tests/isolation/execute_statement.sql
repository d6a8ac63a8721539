-- trick: runs a statement prepared by somebody else
-- expect: refused
EXECUTE spy('globex')

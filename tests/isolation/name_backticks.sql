-- trick: names in backticks
-- expect: either
SELECT * FROM `silver`.`posts`

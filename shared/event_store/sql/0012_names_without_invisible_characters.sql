-- Siblings' names are compared without characters that show nothing (Default_Ignorable_Code_Point in shared/domain/values.py).
-- Siblings that differ in such characters only keep their old forms, so that both stay; one of them is to be renamed.
UPDATE placements AS place SET name = btrim(regexp_replace(name, invisible.class, '', 'g'))
FROM (
    SELECT '[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164'
        '\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]' AS class
) AS invisible
WHERE name ~ invisible.class AND NOT EXISTS (
    SELECT FROM placements AS sibling
    WHERE sibling.stream <> place.stream AND coalesce(sibling.parent, '') = coalesce(place.parent, '')
        AND btrim(regexp_replace(sibling.name, invisible.class, '', 'g'))
            = btrim(regexp_replace(place.name, invisible.class, '', 'g'))
);

"""What the texts are about: templates by kind. `{PERSON}` and the like are drawn by `people.py`; everything else is no personal data."""

from __future__ import annotations

from collections.abc import Mapping

TEMPLATES: Mapping[str, tuple[str, ...]] = {
    "sentence": (
        "My name is {PERSON} and I live in {LOCATION}.",
        "Please call {PERSON} at {PHONE_NUMBER} before noon.",
        "You can reach me at {EMAIL_ADDRESS} or on {PHONE_NUMBER}.",
        "{PERSON} from {ORGANIZATION} visited our office in {LOCATION} last week.",
        "The payment was made with card {CREDIT_CARD} and never arrived.",
        "Transfer the deposit to {IBAN_CODE} by Friday, please.",
        "Her social security number is {US_SSN}, and she was born in {LOCATION}.",
        "My SSN is {PLAIN_SSN}.",
        "We blocked {IP_ADDRESS} because of too many failed logins.",
        "Send the coins to {CRYPTO} and let me know.",
        "I met {PERSON} and {PERSON} at the conference in {LOCATION}.",
        "Our account {IBAN_CODE} was charged twice, my card {CREDIT_CARD} once.",
        "{PERSON} works for {ORGANIZATION} and can be found under {EMAIL_ADDRESS}.",
        "The new number is {PHONE_NUMBER}, the old one no longer works.",
        "I moved from {LOCATION} to {LOCATION} two years ago.",
        "We opened offices in {LOCATION}, {LOCATION} and {LOCATION}.",
        "{ORGANIZATION} and {ORGANIZATION} agreed to merge, said {PERSON}.",
        "The train from {LOCATION} to {LOCATION} was late, so {PERSON} called a taxi.",
        "{PERSON} left {ORGANIZATION} to teach in {LOCATION}.",
        "According to {PERSON}, the invoice was paid from {IBAN_CODE}.",
        "Text me on {PHONE_NUMBER} when you are at the station.",
        "The fraud team saw {CREDIT_CARD} being used from {IP_ADDRESS}.",
        "My wallet is {CRYPTO}, please confirm the transfer.",
        "Write to {SPELT_MAIL} if you have questions.",
        "I accidentally pushed the key {API_KEY} to our repository.",
    ),
    "other language": (
        "Mein Name ist {PERSON}, Sie erreichen mich unter {PHONE_NUMBER} oder {EMAIL_ADDRESS}.",
        "Bitte überweisen Sie den Betrag auf das Konto {IBAN_CODE}.",
        "Je m'appelle {PERSON} et mon numéro de téléphone est le {PHONE_NUMBER}.",
        "Le virement a été fait sur le compte {IBAN_CODE} depuis {EMAIL_ADDRESS}.",
        "Me llamo {PERSON}, mi correo es {EMAIL_ADDRESS} y mi teléfono {PHONE_NUMBER}.",
        "Il mio numero di cellulare è {PHONE_NUMBER}, la carta {CREDIT_CARD}.",
        "Mijn telefoonnummer is {PHONE_NUMBER} en mijn rekening {IBAN_CODE}.",
        "Mój numer telefonu to {PHONE_NUMBER}, a adres {EMAIL_ADDRESS}.",
    ),
    "ticket": (
        "Customer: {PERSON}\nPhone: {PHONE_NUMBER}\nEmail: {EMAIL_ADDRESS}\nOrder {order} never arrived, please check.",
        "Ticket {order}: login fails from {IP_ADDRESS} since {date}. Contact {EMAIL_ADDRESS}.",
        "Refund for order {order} ({price}) to card {CREDIT_CARD} requested by {PERSON}.",
        "Please change my bank details to IBAN: {IBAN_CODE}\nThanks, {PERSON}",
        "Caller {PERSON} ({PHONE_NUMBER}) asked about version {version}; SSN on file: {US_SSN}.",
    ),
    "signature": (
        "Kind regards,\n\n{PERSON}\nHead of Sales | {ORGANIZATION}\n{LOCATION}\nT {PHONE_NUMBER}\nM: {PHONE_NUMBER}\n{EMAIL_ADDRESS}",
        "--\n{PERSON}\n{ORGANIZATION}, {LOCATION}\nTel.: {PHONE_NUMBER}  Fax: {PHONE_NUMBER}\nE-Mail: {EMAIL_ADDRESS}",
        "Mit freundlichen Grüßen\n{PERSON}\n{ORGANIZATION}\nTelefon {PHONE_NUMBER}\nIBAN {IBAN_CODE}",
    ),
    "thread": (
        (
            "From: {PERSON} <{EMAIL_ADDRESS}>\nTo: {EMAIL_ADDRESS}\nSubject: Re: order {order}\n\nHi {PERSON},\n\nit ships on {date}.\n\n"
            "> Please call {PHONE_NUMBER}.\n>> {PERSON} wrote on {date}:\n>> my card is {CREDIT_CARD}"
        ),
        "On {date}, {PERSON} <{EMAIL_ADDRESS}> wrote:\n> The server {IP_ADDRESS} is down.\n> {PERSON}, can you look?\n\nDone. {PERSON}",
        "---------- Forwarded message ----------\nFrom: {EMAIL_ADDRESS}\nDate: {date}\nSubject: bank details\n\n{PERSON}, {IBAN_CODE}",
    ),
    "table": (
        "id,name,email,phone\n1,{PERSON},{EMAIL_ADDRESS},{PHONE_NUMBER}\n2,{PERSON},{EMAIL_ADDRESS},{PHONE_NUMBER}",
        "name;iban;city\n{PERSON};{IBAN_CODE};{LOCATION}\n{PERSON};{IBAN_CODE};{LOCATION}",
        "| name | phone | ip |\n|---|---|---|\n| {PERSON} | {PHONE_NUMBER} | {IP_ADDRESS} |\n| {PERSON} | {PHONE_NUMBER} | {IP_ADDRESS} |",
        "employee\tssn\tcard\n{PERSON}\t{PLAIN_SSN}\t{CREDIT_CARD}\n{PERSON}\t{US_SSN}\t{CREDIT_CARD}",
        '{{"name": "{PERSON}", "phone": "{PHONE_NUMBER}", "email": "{EMAIL_ADDRESS}", "order": "{order}"}}',
        "wallet | owner\n{CRYPTO} | {PERSON}\n{CRYPTO} | {PERSON}",
    ),
    "link": (
        "See https://{HOST}/profile?email={EMAIL_ADDRESS}&ref={version} for details.",
        "<a href='mailto:{EMAIL_ADDRESS}'>{PERSON}</a>",
        "Reset link: https://{HOST}/reset?user=17&token={TOKEN}",
        "DATABASE_URL=postgresql://{LOGIN}@{HOST}:5432/app",
        "git clone https://{LOGIN}@{HOST}/team/project.git fails with 403",
        "Download: https://{HOST}/files/report.pdf?expires=1767225600&signature={TOKEN}",
        "curl 'https://{HOST}/v1/items?api_key={TOKEN}&limit=10'",
        "http://{IP_ADDRESS4}:8080/admin answers, tel:{PHONE_NUMBER} does not.",
        "redirected to https://{HOST}/#access_token={TOKEN}&expires_in=3600",
    ),
    "secret": (
        "api_key = '{SECRET}'",
        "export AWS_ACCESS_KEY_ID={API_KEY}",
        'config: {{"token": "{API_KEY}", "retries": 3}}',
        "password: {PASSWORD}",
        "The password is {PASSWORD} until tomorrow.",
        "client_secret={SECRET}\nregion=eu-west-1",
        "curl -H 'Authorization: Bearer {API_KEY}' https://{HOST}/v2/me",
        "deploy key:\n{PEM}\n(remove after use)",
        "SECRET_KEY: {SECRET}",
    ),
    "log": (
        '{IP_ADDRESS4} - - [12/Mar/2025:10:15:32 +0000] "GET /index.html HTTP/1.1" 200 5120',
        "2025-03-12T10:15:32Z WARN login failed user={EMAIL_ADDRESS} ip={IP_ADDRESS} attempt=3",
        "ERROR payment {uuid} card={CREDIT_CARD} amount={price}",
        "INFO sms sent to {PHONE_NUMBER} in 120 ms (build {version}, commit {git})",
    ),
    "names that are words": (
        "{WORD_NAME} will send the report on Monday.",
        "Ask {WORD_NAME} about the budget for {date}.",
        "Yesterday {WORD_NAME} and {WORD_NAME} signed the contract.",
        "Is {WORD_NAME} coming to {LOCATION}?",
    ),
    "none": (
        "Order {order} was shipped on {date} and costs {price}.",
        "Upgrade from {version} to {version} before {date}; see commit {git}.",
        "ISBN {isbn} is out of print since 1998, chapter 12, pages 100-200.",
        "Job {uuid} took {count} ms for {count} rows.",
        "for i in range(0, {count}): total += values[i] * 1.0825  # rounding, see RFC 2119",
        "The ratio is 16:9, the file has {count} bytes, and the meeting starts at {time}.",
        "std::vector<int> x = a[1:2]; x.at(0) += {count}; // {version}",
        "The password has to be changed every 90 days; tokens expire after {count} seconds.",
        "id,sku,price,created\n{count},{order},{price},{date}\n{count},{order},{price},{date}",
    ),
}
"""Templates by kind. A brace that stands for itself is doubled."""
